import FabricCore

/// Builds the frames that the tests need, byte by byte.
enum Frames {
    static let north = Endpoint("192.0.2.1:51820")!
    static let south = Endpoint("198.51.100.2:51820")!
    static let north6 = Endpoint("[2001:db8::1]:51820")!
    static let south6 = Endpoint("[2001:db8::2]:51820")!

    static func udp(_ payload: [UInt8], from source: Endpoint = north, to destination: Endpoint = south) -> [UInt8] {
        ip(17, source, destination, words(source.port, destination.port, UInt16(8 + payload.count), 0) + payload)
    }

    struct Flags: OptionSet {
        let rawValue: UInt8
        static let fin = Flags(rawValue: 1)
        static let syn = Flags(rawValue: 2)
        static let rst = Flags(rawValue: 4)
        static let ack = Flags(rawValue: 16)
    }

    static func tcp(
        _ flags: Flags, _ sequence: UInt32, _ payload: [UInt8] = [], from source: Endpoint, to destination: Endpoint
    ) -> [UInt8] {
        ip(
            6, source, destination,
            words(source.port, destination.port, UInt16(sequence >> 16), UInt16(truncatingIfNeeded: sequence), 0, 0)
                + [0x50, flags.rawValue] + words(0xFFFF, 0, 0) + payload)
    }

    static func ip(_ proto: UInt8, _ source: Endpoint, _ destination: Endpoint, _ body: [UInt8]) -> [UInt8] {
        let addresses = source.address.bytes + destination.address.bytes
        if source.address.family == .v4 {
            return [0x45, 0] + words(UInt16(20 + body.count), 0, 0) + [64, proto, 0, 0] + addresses + body
        }
        return [0x60, 0, 0, 0] + words(UInt16(body.count)) + [proto, 64] + addresses + body
    }

    static func ethernet(_ packet: [UInt8], padding: Int = 0) -> [UInt8] {
        let type: UInt16 = packet[0] >> 4 == 4 ? 0x0800 : 0x86DD
        return [UInt8](repeating: 2, count: 12) + words(type) + packet + [UInt8](repeating: 0, count: padding)
    }

    /// WireGuard's four messages, by type and size.
    static func wireGuard(_ type: UInt8, bytes: Int) -> [UInt8] {
        [type, 0, 0, 0] + [UInt8](repeating: 0xA5, count: bytes - 4)
    }

    static func words(_ words: UInt16...) -> [UInt8] { words.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] } }
}

/// Hello messages and records of TLS, as far as an onlooker sees them.
enum TLS {
    static func record(_ type: UInt8, _ body: [UInt8], version: UInt16 = 0x0303) -> [UInt8] {
        [type] + Frames.words(version, UInt16(body.count)) + body
    }

    static func clientHello(offering versions: [UInt16] = [0x0304, 0x0303]) -> [UInt8] {
        let list = versions.flatMap { Frames.words($0) }
        let supported = Frames.words(43, UInt16(list.count + 1)) + [UInt8(list.count)] + list
        return hello(1, Frames.words(2, 0x1301) + [1, 0], versions.isEmpty ? [] : supported)
    }

    static func serverHello(picking version: UInt16? = 0x0304, random: [UInt8] = [UInt8](repeating: 7, count: 32))
        -> [UInt8]
    {
        hello(2, Frames.words(0x1301) + [0], version.map { Frames.words(43, 2, $0) } ?? [], random: random)
    }

    static let retryRandom = Hex.decode("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")!

    private static func hello(
        _ type: UInt8, _ choices: [UInt8], _ extra: [UInt8], random: [UInt8] = [UInt8](repeating: 9, count: 32)
    ) -> [UInt8] {
        // An extension before it, so that the search for 43 has to walk.
        let extensions = Frames.words(0x2A2A, 3) + [1, 2, 3] + extra
        let body =
            Frames.words(0x0303) + random + [4, 1, 2, 3, 4] + choices + Frames.words(UInt16(extensions.count))
            + extensions
        return [type, 0] + Frames.words(UInt16(body.count)) + body
    }
}
