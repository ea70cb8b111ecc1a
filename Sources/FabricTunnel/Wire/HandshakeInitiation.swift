/// Message 1, from initiator to responder: 148 bytes.
///
/// ```
/// offset  size  field
///      0     4  type = 1, reserved = 0
///      4     4  sender index: the initiator's, for the response
///      8    32  unencrypted ephemeral key
///     40    48  static key, encrypted (32 + tag 16)
///     88    28  TAI64N time stamp, encrypted (12 + tag 16)
///    116    16  mac1: keyed by HASH("mac1----" || responder's static key), over bytes 0..<116
///    132    16  mac2: keyed by the last cookie, over bytes 0..<132; zero without one
/// ```
package struct HandshakeInitiation {
    package static let length = 148
    static let mac1Offset = 116

    package var senderIndex: UInt32
    package var ephemeral: [UInt8]
    package var encryptedStatic: [UInt8]
    package var encryptedTimestamp: [UInt8]

    init(senderIndex: UInt32, ephemeral: [UInt8], encryptedStatic: [UInt8], encryptedTimestamp: [UInt8]) {
        self.senderIndex = senderIndex
        self.ephemeral = ephemeral
        self.encryptedStatic = encryptedStatic
        self.encryptedTimestamp = encryptedTimestamp
    }

    /// `bytes` are `length` bytes of this type. The MACs are judged by `MessageMACs`.
    package init(_ bytes: [UInt8]) {
        var reader = MessageReader(bytes)
        _ = reader.bytes(4)
        senderIndex = reader.littleEndian32()
        ephemeral = reader.bytes(32)
        encryptedStatic = reader.bytes(48)
        encryptedTimestamp = reader.bytes(28)
    }

    /// The message up to its MACs: 116 bytes.
    package var bytesBeforeMACs: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(HandshakeInitiation.length)
        bytes.append(littleEndian32: MessageType.handshakeInitiation.rawValue)
        bytes.append(littleEndian32: senderIndex)
        return bytes + ephemeral + encryptedStatic + encryptedTimestamp
    }
}
