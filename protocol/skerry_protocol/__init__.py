"""What devices and controller agree on: names, documents, signatures, topics. Pure: no I/O."""
