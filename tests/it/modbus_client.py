"""Reads and writes the registers of modbus_device.py, reached at 127.0.0.1:PORT."""

import sys

from pymodbus.client import ModbusTcpClient

client = ModbusTcpClient("127.0.0.1", port=int(sys.argv[1]), timeout=30, retries=0)
assert client.connect(), "no connection"


def read(address, count):
    answer = client.read_holding_registers(address, count=count)
    assert not answer.isError(), answer
    return answer.registers


assert read(0, 100) == [10 * n for n in range(100)]
for n in range(100):
    written = client.write_registers(n, [65535 - n])
    assert not written.isError(), written
    assert read(n, 1) == [65535 - n]
assert read(0, 100) == [65535 - n for n in range(100)]
# The device's refusal is an answer like any other, and has to come back too.
assert client.read_holding_registers(200, count=1).isError()
client.close()
print("all as expected")
