import FabricCore
import FabricCrypto
import FabricTunnel

@testable import FabricNode

/// IP packets to send through tunnels.
enum Packets {
    /// A UDP packet between the hosts' overlay addresses; its checksum is not computed.
    static func udp(
        from source: NodeHost, to destination: NodeHost, domain: RoutingDomainID = .fabric, _ payload: [UInt8]
    ) -> [UInt8] {
        udp(
            from: source.agent.overlayAddress(in: domain)!, to: destination.agent.overlayAddress(in: domain)!, payload)
    }

    static func udp(from source: IPAddress, to destination: IPAddress, _ payload: [UInt8]) -> [UInt8] {
        let length = UInt8(8 + payload.count)
        return [0x60, 0, 0, 0, 0, length, 17, 64] + source.bytes + destination.bytes
            + [0x30, 0x39, 0x30, 0x39, 0, length, 0, 0] + payload
    }

    /// A UDP packet over IPv4; its checksums are not computed.
    static func udp4(from source: String, to destination: String, _ payload: [UInt8]) -> [UInt8] {
        [0x45, 0, 0, UInt8(28 + payload.count), 0, 0, 0, 0, 64, 17, 0, 0] + IPAddress(source)!.bytes
            + IPAddress(destination)!.bytes + [0x30, 0x39, 0x30, 0x39, 0, UInt8(8 + payload.count), 0, 0] + payload
    }

    static func label(_ wall: WallTime) -> TAI64N { TAI64N(wall) }
}

extension NodeBench {
    static func makeCryptography() -> any Cryptography { SystemCryptography() }
}
