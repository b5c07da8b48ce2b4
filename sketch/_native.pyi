from array import array

def read(
    kind: int, body: bytes | bytearray | memoryview, layout: bytes, third: int, counts: array[int], cells: bytearray
) -> tuple[int, int, int, bytes, int, int, int, int, int]: ...
