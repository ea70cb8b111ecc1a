import FabricCore
import FabricCrypto
import Testing

@testable import FabricTunnel

private typealias V = HandshakeVectors

@Suite struct HandshakeKnownAnswers {
    let cryptography = SystemCryptography()
    let initiator = try! Handshake.Identity(privateKey: V.initiatorPrivate, SystemCryptography())
    let responder = try! Handshake.Identity(privateKey: V.responderPrivate, SystemCryptography())

    private func initiate() throws -> (HandshakeInitiation, Handshake.Initiated) {
        try Handshake.initiate(
            initiator, peer: V.responderPublic,
            staticStatic: Handshake.staticStatic(initiator, peer: V.responderPublic),
            ephemeralPrivateKey: V.initiatorEphemeral, senderIndex: V.initiatorIndex,
            timestamp: TAI64N(bytes: V.timestamp)!, cryptography)
    }

    @Test func `Both messages and both keys are those of the implementation in Python`() throws {
        let (initiation, initiated) = try initiate()
        #expect(initiation.bytesBeforeMACs == Array(V.initiation[..<116]))
        var opened = try Handshake.OpenedInitiation(HandshakeInitiation(V.initiation), responder, cryptography)
        #expect(opened.peer == V.initiatorPublic)
        let staticStatic = try Handshake.staticStatic(responder, peer: opened.peer)
        #expect(try opened.readTimestamp(staticStatic: staticStatic, cryptography).bytes == V.timestamp)
        let (response, ours) = try opened.respond(
            presharedKey: V.presharedKey, ephemeralPrivateKey: V.responderEphemeral, senderIndex: V.responderIndex,
            cryptography)
        #expect(response.bytesBeforeMACs == Array(V.response[..<60]))
        let theirs = try Handshake.finish(
            initiated, HandshakeResponse(V.response), initiator, presharedKey: V.presharedKey, cryptography)
        #expect(theirs.sendKey == V.initiatorToResponderKey && theirs.receiveKey == V.responderToInitiatorKey)
        #expect(ours.sendKey == theirs.receiveKey && ours.receiveKey == theirs.sendKey)
        #expect(ours.localIndex == theirs.remoteIndex && ours.remoteIndex == theirs.localIndex)
    }

    @Test func `The MACs of both messages are those of the implementation in Python`() {
        for (message, receiver) in [(V.initiation, responder), (V.response, initiator)] {
            var body = Array(message.dropLast(32))
            let key = MessageMACs.mac1Key(of: receiver.publicKey, cryptography)
            _ = MessageMACs.append(to: &body, mac1Key: key, cookie: nil, cryptography)
            #expect(body == message)
        }
        var body = Array(V.initiation.dropLast(32))
        _ = MessageMACs.append(
            to: &body, mac1Key: MessageMACs.mac1Key(of: V.responderPublic, cryptography), cookie: V.cookie,
            cryptography)
        #expect(body == V.initiationWithCookie)
    }

    @Test func `Another preshared key, or a changed byte anywhere, is found out`() throws {
        let (_, initiated) = try initiate()
        #expect(throws: Handshake.Failure.notAuthentic) {
            try Handshake.finish(
                initiated, HandshakeResponse(V.response), initiator,
                presharedKey: [UInt8](repeating: 0, count: 32), cryptography)
        }
        for offset in stride(from: 12, to: 60, by: 5) {
            var forged = V.response
            forged[offset] ^= 4
            #expect(throws: Handshake.Failure.self) {
                try Handshake.finish(
                    initiated, HandshakeResponse(forged), initiator, presharedKey: V.presharedKey, cryptography)
            }
        }
        let staticStatic = try Handshake.staticStatic(responder, peer: V.initiatorPublic)
        for offset in stride(from: 8, to: 116, by: 5) {
            var forged = V.initiation
            forged[offset] ^= 4
            #expect(throws: Handshake.Failure.self) {
                var opened = try Handshake.OpenedInitiation(HandshakeInitiation(forged), responder, cryptography)
                _ = try opened.readTimestamp(staticStatic: staticStatic, cryptography)
            }
        }
    }

    /// Whole endpoints, whose randomness is scripted to the vector's: what they put on the wire is the vector.
    @Test func `Endpoints put the vector's datagrams on the wire`() throws {
        func index(_ value: UInt32) -> [UInt8] {
            var bytes: [UInt8] = []
            bytes.append(littleEndian32: value)
            return bytes + [0, 0, 0, 0]
        }
        let harness = TunnelHarness()
        harness.now = .zero
        let domain = RoutingDomainID("vector")!
        let a = harness.addNode(
            "192.0.2.1:1", random: ScriptedRandom([index(V.initiatorIndex), V.initiatorEphemeral]))
        let b = harness.addNode(
            "192.0.2.2:2", random: ScriptedRandom([index(V.responderIndex), V.responderEphemeral]))
        a.tunnels.addDomain(id: domain, privateKey: V.initiatorPrivate, mtu: 1420)
        b.tunnels.addDomain(id: domain, privateKey: V.responderPrivate, mtu: 1420)
        _ = a.tunnels.addPeer(
            domain: domain,
            PeerConfiguration(
                publicKey: V.responderPublic, presharedKey: V.presharedKey, allowedIPs: [IPPrefix("10.0.0.2/32")!],
                endpoint: b.address, persistentKeepalive: nil))
        _ = b.tunnels.addPeer(
            domain: domain,
            PeerConfiguration(
                publicKey: V.initiatorPublic, presharedKey: V.presharedKey, allowedIPs: [IPPrefix("10.0.0.1/32")!],
                endpoint: nil, persistentKeepalive: nil))
        #expect(harness.send(a, domain, V.packet).isStaged)
        harness.run(for: .seconds(11))
        #expect(harness.sent.map(\.bytes) == [V.initiation, V.response, V.firstData, V.responderKeepalive])
        #expect(b.delivered.map(\.packet) == [V.packet])
    }

    @Test func `The cookie reply of the vector makes the next initiation carry its mac2`() throws {
        var jar = CookieJar()
        let reply = CookieReply(V.cookieReply)
        let key = MessageMACs.cookieKey(of: V.responderPublic, cryptography)
        func take() -> Bool { jar.take(reply, cookieKey: key, now: .zero, cryptography) }
        #expect(!take(), "nothing was sent")
        jar.sent(mac1: [UInt8](repeating: 1, count: 16))
        #expect(!take(), "another message was sent")
        jar.sent(mac1: Array(V.initiation[116..<132]))
        #expect(take())
        #expect(jar.cookie(at: .zero + .seconds(114)) == V.cookie)
        #expect(jar.cookie(at: .zero + .seconds(115)) == nil)
        #expect(!take(), "a second time")
    }
}

@Suite struct TimeStamps {
    @Test func `A label is wall time rounded down to 2^24 ns`() {
        let label = TAI64N(WallTime(nanoseconds: 1_800_000_000_999_999_999))
        #expect(label.bytes == [0x40, 0, 0, 0, 0x6B, 0x49, 0xD2, 0x0A] + [0x3B, 0, 0, 0])
        #expect(TAI64N(bytes: label.bytes) == label)
        #expect(TAI64N(bytes: [1, 2, 3]) == nil)
    }

    @Test func `Successors rise, and stay valid labels`() {
        var label = TAI64N(WallTime(seconds: 7))
        for _ in 0..<200 {
            #expect(label < label.successor)
            label = label.successor
            #expect(label.nanoseconds < 1_000_000_000)
        }
        #expect(TAI64N(WallTime(seconds: -1)) < TAI64N(WallTime(seconds: 0)))
    }
}
