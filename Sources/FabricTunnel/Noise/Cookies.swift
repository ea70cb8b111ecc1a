package import FabricCore

/// mac1 and mac2, the last 32 bytes of both handshake messages (whitepaper, section 5.4.4).
///
/// mac1 proves that the sender knows whom it speaks to: nothing is answered without it. mac2 proves that the sender
/// receives at its source address; it is asked for only under load.
package enum MessageMACs {
    static let length = 16

    package static func mac1Key(of publicKey: [UInt8], _ cryptography: any Cryptography) -> [UInt8] {
        cryptography.blake2s(Array("mac1----".utf8) + publicKey)
    }

    package static func cookieKey(of publicKey: [UInt8], _ cryptography: any Cryptography) -> [UInt8] {
        cryptography.blake2s(Array("cookie--".utf8) + publicKey)
    }

    /// Appends both and returns mac1; mac2 is zero without a cookie.
    package static func append(
        to message: inout [UInt8], mac1Key: [UInt8], cookie: [UInt8]?, _ cryptography: any Cryptography
    ) -> [UInt8] {
        let mac1 = cryptography.blake2sMAC(key: mac1Key, message)
        message += mac1
        message += cookie.map { cryptography.blake2sMAC(key: $0, message) } ?? [UInt8](repeating: 0, count: length)
        return mac1
    }

    static func hasValidMAC1(_ message: [UInt8], mac1Key: [UInt8], _ cryptography: any Cryptography) -> Bool {
        let offset = message.count - 2 * length
        if planted(.macUnchecked) { return true }
        return constantTimeEqual(
            cryptography.blake2sMAC(key: mac1Key, Array(message[..<offset])),
            Array(message[offset..<offset + length]))
    }
}

/// The side under load: makes cookies and checks mac2 by them. A cookie is a MAC of the source address and port under a
/// secret that changes every two minutes, so nothing is kept per source.
struct CookieChecker {
    static let secretLifetime = Duration.seconds(120)

    private var secret: [UInt8] = []
    private var secretMadeAt = Instant.zero

    mutating func hasValidMAC2(
        _ message: [UInt8], from source: Endpoint, now: Instant, random: any RandomSource,
        _ cryptography: any Cryptography
    ) -> Bool {
        let offset = message.count - MessageMACs.length
        let cookie = cookie(for: source, now: now, random: random, cryptography)
        return constantTimeEqual(
            cryptography.blake2sMAC(key: cookie, Array(message[..<offset])), Array(message[offset...]))
    }

    mutating func reply(
        to message: [UInt8], senderIndex: UInt32, from source: Endpoint, now: Instant, cookieKey: [UInt8],
        random: any RandomSource, _ cryptography: any Cryptography
    ) -> CookieReply {
        let mac1Offset = message.count - 2 * MessageMACs.length
        let cookie = cookie(for: source, now: now, random: random, cryptography)
        let nonce = random.bytes(24)
        return CookieReply(
            receiverIndex: senderIndex, nonce: nonce,
            encryptedCookie: cryptography.xchachaSeal(
                key: cookieKey, nonce: nonce, cookie,
                authenticating: Array(message[mac1Offset..<mac1Offset + MessageMACs.length])))
    }

    private mutating func cookie(
        for source: Endpoint, now: Instant, random: any RandomSource, _ cryptography: any Cryptography
    ) -> [UInt8] {
        if secret.isEmpty || now - secretMadeAt >= CookieChecker.secretLifetime {
            secret = random.bytes(32)
            secretMadeAt = now
        }
        let port = [UInt8(source.port >> 8), UInt8(truncatingIfNeeded: source.port)]
        return cryptography.blake2sMAC(key: secret, source.address.bytes + port)
    }
}

/// The side that is asked for mac2: the last cookie that a peer gave, and the mac1 that a reply must be about.
struct CookieJar {
    /// Shorter than the secret's life by a network's delay.
    static let cookieLifetime = Duration.seconds(115)

    private var held: (cookie: [UInt8], receivedAt: Instant)?
    private var lastMAC1: [UInt8]?

    func cookie(at now: Instant) -> [UInt8]? {
        guard let held, now - held.receivedAt < CookieJar.cookieLifetime, !planted(.cookieIgnored) else { return nil }
        return held.cookie
    }

    mutating func sent(mac1: [UInt8]) { lastMAC1 = mac1 }

    /// False when the reply is not about the last message sent, or not authentic.
    mutating func take(_ reply: CookieReply, cookieKey: [UInt8], now: Instant, _ cryptography: any Cryptography) -> Bool
    {
        guard let lastMAC1,
            let cookie = cryptography.xchachaOpen(
                key: cookieKey, nonce: reply.nonce, reply.encryptedCookie, authenticating: lastMAC1)
        else { return false }
        held = (cookie, now)
        self.lastMAC1 = nil
        return true
    }
}
