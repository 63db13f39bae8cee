"""A Modbus device with a hundred holding registers, register n holding 10 n.

Listens on a port the system picks, and prints it.
"""

import asyncio

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


async def main():
    registers = SimData(
        0, values=[10 * n for n in range(100)], datatype=DataType.REGISTERS
    )
    server = ModbusTcpServer(SimDevice(1, registers), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    print(f"listening on port {port}", flush=True)
    await asyncio.Future()


asyncio.run(main())
