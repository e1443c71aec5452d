import asyncio
import os
import signal

from skerry_agent.runtime.process import (
    StderrTail,
    describe_crash,
    describe_exit,
    resident_bytes,
    runner_environment,
)


def test_secrets_of_the_daemon_are_not_passed_on() -> None:
    env = runner_environment(
        {"SKERRY_TOKEN": "t", "PATH": "/bin", "LLAMA_ARG_X": "1"}, threads=3, huge_pages=True
    )
    assert "SKERRY_TOKEN" not in env
    assert "LLAMA_ARG_X" not in env
    assert env["PATH"] == "/bin"
    assert env["OMP_NUM_THREADS"] == "3"
    assert env["GGML_NO_BACKTRACE"] == "1"


async def test_the_end_of_stderr_is_kept_and_no_more() -> None:
    stream = asyncio.StreamReader()
    tail = StderrTail(10)
    for i in range(1000):
        stream.feed_data(f"line {i}\n".encode())
    stream.feed_eof()
    await tail.collect(stream)
    assert tail.text == "\nline 999\n".strip()


def test_exits_are_told_in_words() -> None:
    assert describe_exit(-signal.SIGABRT) == "by signal SIGABRT"
    assert describe_exit(-99) == "by signal 99"
    assert describe_exit(3) == "with exit code 3"
    told = describe_crash(-signal.SIGALRM, killed_because=None, stderr_tail="")
    assert told == "ended by signal SIGALRM: the model's chat template did not end"
    told = describe_crash(-9, killed_because="it hung", stderr_tail="a\nb")
    assert told == "ended by signal SIGKILL: it was killed, since it hung (it last wrote: b)"


def test_resident_memory_of_a_process_is_seen_and_of_none_is_zero() -> None:
    assert resident_bytes(os.getpid()) > 1_000_000
    assert resident_bytes(2**22 + 1) == 0


def test_the_folder_of_the_machine_that_built_llama_cpp_is_not_told() -> None:
    told = describe_crash(
        -6, killed_because=None, stderr_tail="/build/vendor/src/llama-model.cpp:1328: GGML_ASSERT(n > 0)"
    )
    assert told == "ended by signal SIGABRT (it last wrote: llama-model.cpp:1328: GGML_ASSERT(n > 0))"
