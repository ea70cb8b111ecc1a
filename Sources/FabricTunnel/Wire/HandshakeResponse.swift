/// Message 2, from responder to initiator: 92 bytes.
///
/// ```
/// offset  size  field
///      0     4  type = 2, reserved = 0
///      4     4  sender index: the responder's, for transport data
///      8     4  receiver index: the sender index of the initiation
///     12    32  unencrypted ephemeral key
///     44    16  nothing, encrypted (tag 16)
///     60    16  mac1: keyed by HASH("mac1----" || initiator's static key), over bytes 0..<60
///     76    16  mac2: keyed by the last cookie, over bytes 0..<76; zero without one
/// ```
package struct HandshakeResponse {
    package static let length = 92
    static let mac1Offset = 60

    package var senderIndex: UInt32
    package var receiverIndex: UInt32
    package var ephemeral: [UInt8]
    package var encryptedNothing: [UInt8]

    init(senderIndex: UInt32, receiverIndex: UInt32, ephemeral: [UInt8], encryptedNothing: [UInt8]) {
        self.senderIndex = senderIndex
        self.receiverIndex = receiverIndex
        self.ephemeral = ephemeral
        self.encryptedNothing = encryptedNothing
    }

    /// `bytes` are `length` bytes of this type.
    package init(_ bytes: [UInt8]) {
        var reader = MessageReader(bytes)
        _ = reader.bytes(4)
        senderIndex = reader.littleEndian32()
        receiverIndex = reader.littleEndian32()
        ephemeral = reader.bytes(32)
        encryptedNothing = reader.bytes(16)
    }

    /// The message up to its MACs: 60 bytes.
    package var bytesBeforeMACs: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(HandshakeResponse.length)
        bytes.append(littleEndian32: MessageType.handshakeResponse.rawValue)
        bytes.append(littleEndian32: senderIndex)
        bytes.append(littleEndian32: receiverIndex)
        return bytes + ephemeral + encryptedNothing
    }
}
