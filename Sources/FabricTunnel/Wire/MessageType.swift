/// The first four bytes of every WireGuard datagram: the type, then three reserved bytes that are zero. Read as one
/// little-endian word, so that a datagram with other reserved bytes has no type.
///
/// ```
/// initiator                                   responder
///     | -- 1 handshake initiation (148) ------> |
///     | <------- 2 handshake response (92) ---- |     or, under load:  <-- 3 cookie reply (64)
///     | -- 4 transport data (32 or more) -----> |
///     | <------- 4 transport data (32 or more)- |
/// ```
/// Integers are little-endian. Source: the WireGuard whitepaper, section 5.4.
enum MessageType: UInt32 {
    case handshakeInitiation = 1
    case handshakeResponse = 2
    case cookieReply = 3
    case transportData = 4

    /// Nil for a datagram that is too short, of an unknown type, or not of its type's length.
    @inline(__always)
    init?(datagram: UnsafeRawBufferPointer) {
        guard datagram.count >= 4, let type = MessageType(rawValue: datagram.littleEndian32(at: 0)) else { return nil }
        switch type {
        case .handshakeInitiation: guard datagram.count == HandshakeInitiation.length else { return nil }
        case .handshakeResponse: guard datagram.count == HandshakeResponse.length else { return nil }
        case .cookieReply: guard datagram.count == CookieReply.length else { return nil }
        case .transportData: guard datagram.count >= TransportHeader.minimumDatagram else { return nil }
        }
        self = type
    }
}

extension UnsafeRawBufferPointer {
    @inline(__always)
    func littleEndian32(at offset: Int) -> UInt32 {
        UInt32(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    @inline(__always)
    func littleEndian64(at offset: Int) -> UInt64 {
        UInt64(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    @inline(__always)
    func bigEndian32(at offset: Int) -> UInt32 {
        UInt32(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    @inline(__always)
    func bigEndian64(at offset: Int) -> UInt64 {
        UInt64(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}

/// Cuts fields off the front of a handshake message. Its length has been checked by then.
struct MessageReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    mutating func bytes(_ count: Int) -> [UInt8] {
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    mutating func littleEndian32() -> UInt32 { bytes(4).reversed().reduce(0) { $0 << 8 | UInt32($1) } }
}

extension [UInt8] {
    mutating func append(littleEndian32 value: UInt32) {
        for shift in stride(from: UInt32(0), to: 32, by: 8) { append(UInt8(truncatingIfNeeded: value >> shift)) }
    }
}
