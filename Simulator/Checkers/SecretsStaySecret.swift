internal import FabricCore

/// No private key, raw token or inner plaintext is where it does not belong. Finds any of many secrets in one pass.
struct SecretsStaySecret {
    /// What flows' packets are filled with, on every eighth byte.
    static let canary: UInt64 = 0x5241_5043_414E_4152
    /// `synthetic.echo` has these bytes at 48 of its packet; a byte of flags and three zeros follow.
    static let echoMarker: UInt32 = 0x5241_5065

    private struct Secret {
        var label: String
        var bytes: [UInt8]
    }

    private static let filterBits = 1 << 20
    /// A secret's first 8 bytes, hashed to a bit.
    private var filter = [UInt64](repeating: 0, count: filterBits / 64)
    /// By the first 8 bytes. Looked up by key only.
    private var secrets: [UInt64: [Secret]] = [:]
    private(set) var count = 0

    /// Adds a secret of 8 bytes or more, as it is and in base64url.
    mutating func add(_ label: String, _ bytes: [UInt8]) {
        insert(label, bytes)
        insert("\(label), in base64url", Array(Base64URL.encode(bytes).utf8))
    }

    private mutating func insert(_ label: String, _ bytes: [UInt8]) {
        guard bytes.count >= 8 else { return }
        let head = bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
        if secrets[head]?.contains(where: { $0.bytes == bytes }) == true { return }
        secrets[head, default: []].append(Secret(label: label, bytes: bytes))
        let bit = Self.bit(head)
        filter[bit / 64] |= 1 << UInt64(bit % 64)
        count += 1
    }

    @inline(__always)
    private static func bit(_ head: UInt64) -> Int {
        Int(truncatingIfNeeded: (head &* 0x9E37_79B9_7F4A_7C15) >> 44)
    }

    /// The label of a secret that stands in the bytes.
    func find(in bytes: [UInt8]) -> String? {
        guard count > 0, bytes.count >= 8 else { return nil }
        return bytes.withUnsafeBytes { area in
            filter.withUnsafeBufferPointer { filter in
                for offset in 0...(area.count - 8) {
                    let head = area.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                    let bit = Self.bit(head)
                    guard filter[bit >> 6] & (1 << UInt64(bit & 63)) != 0, let found = secrets[head] else { continue }
                    for secret in found where offset + secret.bytes.count <= area.count {
                        if area[offset..<offset + secret.bytes.count].elementsEqual(secret.bytes) {
                            return secret.label
                        }
                    }
                }
                return nil
            }
        }
    }

    /// What of an inner packet shows in a datagram: at its own place, or behind a transport header.
    @inline(__always)
    static func plaintext(in datagram: UnsafeRawBufferPointer) -> String? {
        for offset in [48, 64] where datagram.count >= offset + 8 {
            // Marker, flags (0 to 3) and three zeros: chance makes these 8 bytes once in 2^62 datagrams.
            let word = UInt64(bigEndian: datagram.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            if word >> 32 == UInt64(echoMarker), word & 0xFFFF_FF == 0, (word >> 24) & 0xFF <= 3 { return "an echo" }
        }
        guard datagram.count >= 104 else { return nil }
        let word = UInt64(bigEndian: datagram.loadUnaligned(fromByteOffset: 96, as: UInt64.self))
        return word == canary ? "a flow's packet" : nil
    }
}
