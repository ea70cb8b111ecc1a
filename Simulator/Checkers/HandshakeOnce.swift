internal import FabricCore

/// An initiation is taken once: who records one and sends it again gets no answer. And it is taken only when its mac1 is
/// valid under a key of the receiver: nothing is answered to who does not know whom it speaks to.
struct HandshakeOnce {
    static let initiationLength = 148
    static let mac1Offset = 116

    /// Of the present boot: mac1 fields of the initiations that were taken. Looked up only.
    private var taken: Set<[UInt8]> = []

    static func isInitiation(_ datagram: UnsafeRawBufferPointer) -> Bool {
        datagram.count == initiationLength && datagram[0] == 1
    }

    mutating func booted() { taken.removeAll() }

    /// The node has taken this initiation. `keys` are its own public keys.
    mutating func took(_ datagram: [UInt8], keys: [[UInt8]], _ cryptography: any Cryptography) -> String? {
        let mac1 = Array(datagram[Self.mac1Offset..<Self.mac1Offset + 16])
        let message = Array(datagram[..<Self.mac1Offset])
        let isValid = keys.contains { key in
            cryptography.blake2sMAC(key: cryptography.blake2s(Array("mac1----".utf8) + key), message) == mac1
        }
        if !isValid { return "an initiation without a valid mac1 was taken" }
        // mac1 covers all that is before it; an initiation with another mac1 is another one.
        return taken.insert(mac1).inserted ? nil : "an initiation was taken a second time"
    }
}
