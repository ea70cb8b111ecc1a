/// Why a byte stream is not TLS 1.3.
public enum TLSViolation: Hashable, Sendable, CustomStringConvertible {
    case notARecord(contentType: UInt8, version: UInt16, length: Int)
    /// The first record of a direction must carry a handshake message.
    case doesNotBeginWithHandshake(contentType: UInt8)
    case unexpectedHandshakeMessage(type: UInt8)
    case malformedHello
    case helloTooLarge
    /// The ClientHello does not offer TLS 1.3, or the ServerHello picks another version.
    case notTLS13
    /// A handshake record after the hello messages, or after encryption began.
    case plaintextAfterHello(contentType: UInt8)

    public var description: String {
        switch self {
        case .notARecord(let type, let version, let length):
            "no TLS record (type \(type), version 0x\(String(version, radix: 16)), length \(length))"
        case .doesNotBeginWithHandshake(let type): "begins with a TLS record of type \(type), not with a handshake"
        case .unexpectedHandshakeMessage(let type): "an unexpected handshake message of type \(type) in the clear"
        case .malformedHello: "a malformed hello message"
        case .helloTooLarge: "a hello message beyond \(TLSStream.maximumHelloBytes) bytes"
        case .notTLS13: "TLS of a version other than 1.3"
        case .plaintextAfterHello(let type): "a TLS record of type \(type) in the clear after the hello messages"
        }
    }
}

/// One direction of a TLS 1.3 connection (RFC 8446), as an onlooker without keys can check it.
///
/// It must begin with a handshake record that holds the side's hello; a ServerHello must pick 0x0304 in
/// supported_versions (43), a ClientHello must offer it. Then only well-formed records follow: change_cipher_spec
/// (20), application_data (23), and until the first of those alerts (21). A HelloRetryRequest allows one more hello
/// of each side.
struct TLSStream {
    enum Side: Sendable { case client, server }

    /// Bytes of hello messages that are kept.
    static let maximumHelloBytes = 65_536
    private static let maximumRecordBytes = 16_384 + 256

    let side: Side
    private var header: [UInt8] = []
    private var contentType: UInt8 = 0
    private var bodyLeft = 0
    private var hello: [UInt8] = []
    private var hellos = 0
    private var maySendAnotherHello = true
    private var isEncrypted = false
    private(set) var records: UInt64 = 0

    init(side: Side) { self.side = side }

    /// True once the side's hello has been seen and was TLS 1.3.
    var hasHello: Bool { hellos > 0 }

    /// Takes the next bytes of the direction. After a violation the stream must not be fed again.
    mutating func take(_ bytes: UnsafeRawBufferPointer) -> TLSViolation? {
        var offset = 0
        while offset < bytes.count {
            if bodyLeft == 0 {
                header.append(bytes[offset])
                offset += 1
                guard header.count == 5 else { continue }
                if let violation = beginRecord() { return violation }
                header.removeAll(keepingCapacity: true)
                continue
            }
            let count = min(bodyLeft, bytes.count - offset)
            if contentType == 22 {
                guard hello.count + count <= TLSStream.maximumHelloBytes else { return .helloTooLarge }
                hello += bytes[offset..<offset + count]
            }
            offset += count
            bodyLeft -= count
            if contentType == 22, let violation = takeHelloMessages() { return violation }
        }
        return nil
    }

    private mutating func beginRecord() -> TLSViolation? {
        contentType = header[0]
        let version = UInt16(header[1]) << 8 | UInt16(header[2])
        let length = Int(header[3]) << 8 | Int(header[4])
        // Every record says 0x0303, but the first ClientHello may say 0x0301 (RFC 8446 section 5.1).
        guard (20...23).contains(contentType), (1...TLSStream.maximumRecordBytes).contains(length),
            version == 0x0303 || (version == 0x0301 && side == .client && records == 0)
        else { return .notARecord(contentType: contentType, version: version, length: length) }
        if records == 0, contentType != 22 { return .doesNotBeginWithHandshake(contentType: contentType) }
        // A hello that was begun must be finished first.
        if contentType != 22, !hello.isEmpty { return .malformedHello }
        switch contentType {
        case 22 where isEncrypted || !maySendAnotherHello: return .plaintextAfterHello(contentType: 22)
        case 21 where isEncrypted: return .plaintextAfterHello(contentType: 21)
        case 20 where length != 1: return .notARecord(contentType: 20, version: version, length: length)
        case 23: isEncrypted = true
        default: break
        }
        records += 1
        bodyLeft = length
        return nil
    }

    /// Takes whole handshake messages from `hello`, and leaves the rest there.
    private mutating func takeHelloMessages() -> TLSViolation? {
        while hello.count >= 4 {
            let length = Int(hello[1]) << 16 | Int(hello[2]) << 8 | Int(hello[3])
            guard hello[0] == (side == .client ? 1 : 2), maySendAnotherHello else {
                return .unexpectedHandshakeMessage(type: hello[0])
            }
            guard length <= TLSStream.maximumHelloBytes - 4 else { return .helloTooLarge }
            guard hello.count >= 4 + length else { return nil }
            let violation = hello.withUnsafeBytes {
                checkHello(ByteReader(UnsafeRawBufferPointer(rebasing: $0[4..<4 + length])))
            }
            if let violation { return violation }
            hello.removeFirst(4 + length)
            hellos += 1
        }
        return nil
    }

    private mutating func checkHello(_ message: ByteReader) -> TLSViolation? {
        var reader = message
        // legacy_version, random, legacy_session_id
        guard reader.skip(2) != nil, let random = reader.part(32), let sessionBytes = reader.uint8(),
            reader.skip(Int(sessionBytes)) != nil
        else { return .malformedHello }
        if side == .client {
            guard let suiteBytes = reader.uint16(), reader.skip(Int(suiteBytes)) != nil,
                let compressionBytes = reader.uint8(), reader.skip(Int(compressionBytes)) != nil
            else { return .malformedHello }
        } else {
            guard reader.skip(3) != nil else { return .malformedHello }
        }
        if reader.remaining == 0 { return .notTLS13 }
        guard let extensionBytes = reader.uint16(), Int(extensionBytes) == reader.remaining else {
            return .malformedHello
        }
        var isTLS13 = false
        while reader.remaining > 0 {
            guard let type = reader.uint16(), let length = reader.uint16(), var body = reader.part(Int(length)) else {
                return .malformedHello
            }
            guard type == 43 else { continue }
            if side == .client {
                guard let listBytes = body.uint8(), Int(listBytes) == body.remaining else { return .malformedHello }
            }
            while body.remaining > 0 {
                guard let version = body.uint16() else { return .malformedHello }
                if version == 0x0304 { isTLS13 = true }
            }
        }
        guard isTLS13 else { return .notTLS13 }
        // A client sends a second hello only when asked to; whether it was is the server's direction to tell.
        maySendAnotherHello = side == .client ? hellos == 0 : hellos == 0 && isRetryRequest(random)
        return nil
    }

    /// The ServerHello.random that marks a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3).
    private func isRetryRequest(_ random: ByteReader) -> Bool {
        var random = random
        let marker: [UInt64] = [
            0xCF21_AD74_E59A_6111, 0xBE1D_8C02_1E65_B891, 0xC2A2_1116_7ABB_8C5E, 0x079E_09E2_C8A8_339C,
        ]
        return marker.allSatisfy { random.uint64() == $0 }
    }
}
