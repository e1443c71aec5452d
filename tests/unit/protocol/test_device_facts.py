from skerry_protocol.device_facts import device_class, device_facts, has_memory, is_fact, processor_word
from skerry_protocol.selectors import Selector, check_label

GIB = 1024**3


def test_a_device_class_is_arch_processor_and_cores_with_single_blanks() -> None:
    assert device_class("x86_64", "AMD  EPYC 7B13 ", 2) == "x86_64 AMD EPYC 7B13 2"
    assert device_class("aarch64", "", 4) == "aarch64 unknown 4"


def test_all_facts_are_labels_that_a_selector_can_name() -> None:
    facts = device_facts(
        arch="x86_64",
        processor="Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz",
        cores=8,
        memory_bytes=int(7.7 * GIB),
        features={"avx2", "fma", "hypervisor"},
    )
    for key, value in facts.items():
        assert check_label(key, value) == (key, value)
        assert is_fact(key)
    assert Selector.parse("arch=x86_64,cpu.avx2=yes,memory.8GiB=yes").matches(facts)
    assert Selector.parse("cpu.avx512f!=yes,memory.16GiB!=yes").matches(facts)
    assert "cpu.hypervisor" not in facts


def test_a_board_counts_with_the_memory_that_it_was_sold_with() -> None:
    assert has_memory(int(3.71 * GIB), 4)
    assert not has_memory(int(3.1 * GIB), 4)


def test_what_is_not_known_is_no_fact() -> None:
    assert device_facts(arch="", processor="", cores=0, memory_bytes=0, features=()) == {}


def test_a_long_name_of_a_processor_stays_a_label() -> None:
    word = processor_word("Some (very) long " * 10)
    assert check_label("processor", word)[1] == word
