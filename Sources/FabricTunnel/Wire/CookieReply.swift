/// Message 3, the answer of a receiver under load to a handshake message without a valid mac2: 64 bytes.
///
/// ```
/// offset  size  field
///      0     4  type = 3, reserved = 0
///      4     4  receiver index: the sender index of the message answered
///      8    24  nonce
///     32    32  cookie, encrypted (16 + tag 16) by XChaCha20-Poly1305 with the key
///               HASH("cookie--" || static key of the one under load); the mac1 of the
///               message answered is authenticated with it
/// ```
package struct CookieReply {
    package static let length = 64

    package var receiverIndex: UInt32
    package var nonce: [UInt8]
    package var encryptedCookie: [UInt8]

    init(receiverIndex: UInt32, nonce: [UInt8], encryptedCookie: [UInt8]) {
        self.receiverIndex = receiverIndex
        self.nonce = nonce
        self.encryptedCookie = encryptedCookie
    }

    /// `bytes` are `length` bytes of this type.
    package init(_ bytes: [UInt8]) {
        var reader = MessageReader(bytes)
        _ = reader.bytes(4)
        receiverIndex = reader.littleEndian32()
        nonce = reader.bytes(24)
        encryptedCookie = reader.bytes(32)
    }

    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian32: MessageType.cookieReply.rawValue)
        bytes.append(littleEndian32: receiverIndex)
        return bytes + nonce + encryptedCookie
    }
}
