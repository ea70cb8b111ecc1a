import FabricCore
import FabricCrypto
import FabricTunnel
import FabricWire
import Testing

@testable import Simulator

/// Each rule by itself: what it lets pass, and what it says of what it does not.
@Suite struct SafetyRuleTests {
    @Test func `a key that seals a counter again is caught, also when it comes back after a reboot`() {
        var rule = NonceOnce()
        let key = [UInt8](1...32)
        let use = rule.use(of: key)
        #expect(use.seal(0, by: 3) && use.seal(1, by: 3) && use.seal(9, by: 3))
        #expect(!use.seal(9, by: 3) && !use.seal(2, by: 3))
        #expect(!rule.use(of: key).seal(0, by: 3))
        #expect(rule.use(of: key).sealer == 3)
        #expect(rule.use(of: [UInt8](2...33)).seal(0, by: 4))
    }

    @Test func `a counter that is opened twice is caught, in any order and after a leap`() {
        var rule = InnerPacketsOnce()
        for counter: UInt64 in [0, 5, 3, 1, 4, 700, 699, 2, 5000] { #expect(rule.take(counter) == true, "\(counter)") }
        for counter: UInt64 in [5000] { #expect(rule.take(counter) == false, "\(counter)") }
        #expect(rule.take(4999) == true)
        #expect(rule.take(4999) == false)
        // What lies too far behind is not known any more.
        #expect(rule.take(3) == true)
    }

    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func `of random counters exactly those that come again are caught`(seed: UInt64) {
        let random = SeededRandom(seed: seed, stream: "counters")
        var rule = InnerPacketsOnce()
        var seen: Set<UInt64> = []
        var top: UInt64 = 0
        for _ in 0..<5000 {
            let counter = top < 500 ? random.below(600) : top - 500 + random.below(520)
            top = max(top, counter)
            #expect(rule.take(counter) == seen.insert(counter).inserted)
        }
        var flow = SequencesOnce()
        #expect(flow.take(1) == true)
        #expect(flow.take(1000) == true)
        #expect(flow.take(2) == true)
        #expect(flow.take(1000) == false)
    }

    @Test func `a key that outlives its session is caught, one that is gone is not`() {
        var rule = KeysEnd()
        let a = rule.made(host: 1, at: .zero)
        let b = rule.made(host: 2, at: .zero + .seconds(700))
        func overdue(_ now: Instant) -> Int? { rule.overdue { _ in now }?.host }
        #expect(overdue(.zero + .seconds(750)) == nil)
        #expect(overdue(.zero + .seconds(751)) == 1)
        #expect(rule.overdue { $0 == 1 ? nil : .zero + .seconds(900) }?.host == nil)
        rule.gone(a)
        #expect(overdue(.zero + .seconds(751)) == nil)
        #expect(rule.made(host: 3, at: .zero + .seconds(800)) == a)
        rule.gone(b)
        #expect(overdue(.zero + .seconds(1500)) == nil && overdue(.zero + .seconds(1551)) == 3)
        #expect(!KeysEnd.refusesPacket(atAge: .seconds(179)) && KeysEnd.refusesPacket(atAge: .seconds(180)))
    }

    @Test func `a time stamp that goes back is caught, per node and peer`() {
        var rule = HandshakeTimeForward()
        func stamp(_ seconds: Int64) -> TAI64N { TAI64N(WallTime(seconds: seconds)) }
        #expect(rule.sent(stamp(100), by: 1, to: [7]) == nil)
        #expect(rule.sent(stamp(100), by: 1, to: [7]) == nil)
        #expect(rule.sent(stamp(50), by: 1, to: [8]) == nil)
        #expect(rule.sent(stamp(50), by: 2, to: [7]) == nil)
        #expect(rule.sent(stamp(99), by: 1, to: [7]) != nil)
        rule.forget(1)
        #expect(rule.sent(stamp(99), by: 1, to: [7]) == nil)
        #expect(rule.sent(stamp(49), by: 2, to: [7]) != nil)
    }

    @Test func `handshakes and join requests wait for the disk`() {
        var rule = DurableBeforeSent()
        func file(_ json: String) -> [UInt8] { Array("rap-state 1 x\n\(json)".utf8) }
        let stamp = TAI64N(WallTime(seconds: 1000))
        #expect(rule.sentHandshake(stamp, at: WallTime(seconds: 1000), floors: nil)?.contains("before") == true)
        func floors(_ seconds: Int) -> [UInt8] {
            file(#"{"wallNanoseconds":0,"handshakeNanoseconds":\#(seconds)000000000,"recordSequence":7}"#)
        }
        #expect(rule.sentHandshake(stamp, at: WallTime(seconds: 1000), floors: floors(900))?.contains("past") == true)
        #expect(rule.sentHandshake(stamp, at: WallTime(seconds: 1000), floors: floors(1900)) == nil)
        // Above its floor goes only who can't write, and no further than the clock has since.
        let reserved = file(
            #"{"wallNanoseconds":0,"handshakeNanoseconds":900000000000,"recordSequence":7,"#
                + #""reservedAtNanoseconds":800000000000}"#)
        for wall: Int64 in [890, 1000, 4000] {
            rule.wroteFloors(failed: false)
            #expect(rule.sentHandshake(stamp, at: WallTime(seconds: wall), floors: reserved) != nil)
            rule.wroteFloors(failed: true)
            #expect((rule.sentHandshake(stamp, at: WallTime(seconds: wall), floors: reserved) == nil) == (wall > 890))
        }
        rule.booted()
        #expect(rule.sentHandshake(stamp, at: WallTime(seconds: 1000), floors: reserved) != nil)
        #expect(DurableBeforeSent.askedToJoin(as: "n", durable: nil)?.contains("before") == true)
        #expect(DurableBeforeSent.askedToJoin(as: "n", durable: "m")?.contains("other keys") == true)
        #expect(DurableBeforeSent.askedToJoin(as: "n", durable: "n") == nil)
    }

    private let nodes = [NodeID(String(repeating: "a", count: 32))!, NodeID(String(repeating: "b", count: 32))!]

    private func snapshot(_ version: Int64, for node: NodeID) -> Snapshot {
        Snapshot(
            cluster: ClusterID("c")!, audience: node, version: version, authorityTerm: 1, previousHash: nil,
            issuedAt: 0,
            refreshAfter: 0, hardExpiry: 0, members: [], domains: [])
    }

    @Test func `an older snapshot is caught, and after a restart one below what was durable`() {
        var rule = SnapshotForward()
        #expect(rule.applied(snapshot(3, for: nodes[0]), by: nodes[0]) == nil)
        #expect(rule.applied(snapshot(2, for: nodes[0]), by: nodes[0])?.contains("after 3") == true)
        #expect(rule.applied(snapshot(4, for: nodes[1]), by: nodes[0])?.contains("for node") == true)
        rule.promised(3)
        rule.booted()
        #expect(rule.applied(snapshot(3, for: nodes[0]), by: nodes[0]) == nil)
        rule.booted()
        #expect(rule.applied(snapshot(2, for: nodes[0]), by: nodes[0])?.contains("durably") == true)
        rule.diskLost()
        rule.booted()
        #expect(rule.applied(snapshot(1, for: nodes[0]), by: nodes[0]) == nil)
    }

    @Test func `two hosts with one key or address are caught`() {
        var rule = UniqueIdentity()
        #expect(rule.claim("key", [1], by: 4) == nil)
        #expect(rule.claim("key", [1], by: 4) == nil)
        #expect(rule.claim("address", [1], by: 5) == nil)
        #expect(rule.claim("key", [1], by: 5) == 4)
    }

    @Test func `token uses are counted by key, and not after expiry or revocation`() {
        var rule = TokenLimits()
        let end = WallTime(seconds: 100)
        #expect(rule.used([9], key: [1], now: end)?.contains("nobody created") == true)
        rule.created([1], uses: 2, expiresAt: end)
        #expect(rule.used([1], key: [1], now: WallTime(seconds: 10)) == nil)
        #expect(rule.used([1], key: [1], now: WallTime(seconds: 200)) == nil, "a repetition uses nothing")
        #expect(rule.used([1], key: [2], now: WallTime(seconds: 99)) == nil)
        #expect(rule.used([1], key: [3], now: WallTime(seconds: 99))?.contains("made 3") == true)
        rule.forgetUses()
        #expect(rule.used([1], key: [4], now: WallTime(seconds: 100))?.contains("expiry") == true)
        rule.revoked([1])
        #expect(rule.used([1], key: [5], now: WallTime(seconds: 1))?.contains("revoked") == true)
    }

    @Test func `one token and key make one request`() {
        var rule = EnrolmentOnce()
        #expect(rule.answered(token: [1], key: [1], request: "a") == nil)
        #expect(rule.answered(token: [1], key: [1], request: "a") == nil)
        #expect(rule.answered(token: [1], key: [2], request: "b") == nil)
        #expect(rule.answered(token: [1], key: [1], request: "c") != nil)
    }

    @Test func `certificates are held against approval, issuer and serial numbers`() {
        var rule = CertificatesSound()
        func facts(_ from: Int64, _ to: Int64, serial: UInt8) -> CertificateFacts {
            CertificateFacts(
                spiffeID: "s", publicKey: [], serial: [serial],
                validity: WallTime(seconds: from)..<WallTime(seconds: to))
        }
        let issuer = facts(10, 1000, serial: 0)
        #expect(rule.issued(facts(20, 30, serial: 1), [1], issuer: issuer, to: "n")?.contains("never approved") == true)
        rule.approved("n")
        #expect(rule.issued(facts(20, 30, serial: 2), [2], issuer: issuer, to: "n") == nil)
        #expect(rule.issued(facts(20, 30, serial: 2), [2], issuer: issuer, to: "n") == nil, "told again")
        #expect(rule.issued(facts(20, 31, serial: 2), [3], issuer: issuer, to: "n")?.contains("serial") == true)
        #expect(rule.issued(facts(20, 1001, serial: 4), [4], issuer: issuer, to: "n")?.contains("issuer") == true)
        #expect(rule.issued(facts(9, 100, serial: 5), [5], issuer: issuer, to: "n")?.contains("issuer") == true)
    }

    @Test func `an audit that loses, changes or lacks a row is caught`() {
        let cryptography = SystemCryptography()
        let cluster = ClusterID("c")!
        func rows(_ events: [String]) -> [ControlAPI.AuditEvent] {
            var hash = ControlAPI.AuditEvent.firstPrevious
            return events.enumerated().map { index, event in
                var row = ControlAPI.AuditEvent(
                    sequence: Int64(index + 1), at: 1, actor: "a", event: event, subject: "s", detail: "d",
                    hash: Blob([]))
                hash = row.chainHash(previous: hash, cluster: cluster, cryptography)
                row.hash = Blob(hash)
                return row
            }
        }
        let good = rows(["join token created", "x", "y"])
        var rule = AuditAppendOnly()
        rule.decided("join token created")
        #expect(rule.read(Array(good[..<2]), cluster: cluster, cryptography) == nil)
        #expect(rule.stillThere(head: 2) == nil)
        #expect(rule.stillThere(head: 1) != nil)
        #expect(rule.read([good[2]], cluster: cluster, cryptography) == nil)
        rule.decided("join token created")
        #expect(rule.read([], cluster: cluster, cryptography)?.contains("2 times") == true)
        var gap = AuditAppendOnly()
        #expect(gap.read([good[0], good[2]], cluster: cluster, cryptography)?.contains("missing") == true)
        var changed = AuditAppendOnly()
        var forged = good
        forged[1].detail = "other"
        #expect(changed.read(forged, cluster: cluster, cryptography)?.contains("hash") == true)
    }

    @Test func `what a reply told must still be so, and no more`() {
        var rule = RepliesDurable()
        rule.request("r", is: "pending")
        rule.token("t", isRevoked: false)
        rule.certificate([1], of: "n")
        var found = RepliesDurable.Found(requests: ["r": "pending"], revokedByToken: ["t": false], serials: ["n": [1]])
        #expect(rule.compare(found) == nil)
        found.requests["r"] = "approved"
        found.serials["n"] = [2]
        #expect(rule.compare(found) == nil, "the database may know more")
        found.requests["r"] = "proving"
        #expect(rule.compare(found)?.contains("told that it is pending") == true)
        found.requests["r"] = nil
        #expect(rule.compare(found)?.contains("gone") == true)
        found.requests["r"] = "pending"
        rule.certificate([3], of: "n")
        found.serials["n"] = [1]
        #expect(rule.compare(found)?.contains("later certificate") == true)
        found.serials["n"] = [3]
        rule.token("t", isRevoked: true)
        #expect(rule.compare(found)?.contains("good again") == true)
        rule.forget()
        #expect(rule.compare(RepliesDurable.Found()) == nil)
    }

    @Test func `a secret is found as bytes and as text, wherever it stands`() {
        var rule = SecretsStaySecret()
        let key = [UInt8](100..<132)
        rule.add("a key", key)
        let noise = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        #expect(rule.find(in: noise) == nil && rule.find(in: []) == nil)
        for place in [0, 1, 777, 5000] {
            #expect(rule.find(in: noise[..<place] + key + noise[place...]) == "a key")
        }
        #expect(rule.find(in: noise + Array(Base64URL.encode(key).utf8)) == "a key, in base64url")
        #expect(rule.find(in: noise + key.dropLast()) == nil, "a part of it is no secret")
    }

    @Test func `plaintext in a datagram is seen`() {
        var buffer = PacketBuffer(packetCapacity: PacketBuffer.maximumPacket)
        let address = IPAddress(v6High: 1, low: 2)
        FlowPacket(flow: 1, sequence: 2, source: address, destination: address, bytes: 500).write(to: &buffer)
        let inner = Array(buffer.bytes)
        func seen(_ bytes: [UInt8]) -> String? { bytes.withUnsafeBytes { SecretsStaySecret.plaintext(in: $0) } }
        #expect(seen(inner) == "a flow's packet")
        #expect(seen([UInt8](repeating: 4, count: 16) + inner) == "a flow's packet")
        #expect(seen([UInt8](repeating: 7, count: 500)) == nil && seen([]) == nil)
        let echo = EchoMessage(
            source: address, destination: address,
            probe: EchoMessage.Probe(sentAt: 5, echo: 4, held: 3, wantsAnswer: true))
        echo.write(to: buffer.writableArea())
        buffer.count = EchoMessage.packetBytes
        #expect(seen(Array(buffer.bytes)) == "an echo")
        #expect(seen([UInt8](repeating: 4, count: 16) + Array(buffer.bytes)) == "an echo")
    }

    @Test func `a packet must come out as it went in, where it was meant to`() {
        var buffer = PacketBuffer(packetCapacity: PacketBuffer.maximumPacket)
        let (a, b) = (IPAddress(v6High: 1, low: 2), IPAddress(v6High: 1, low: 4))
        FlowPacket(flow: 1, sequence: 2, source: a, destination: b, bytes: 333).write(to: &buffer)
        let other = RoutingDomainID("other")!
        var expected = InnerPacketsIntact.Expected(sender: 5, receiver: 6, domain: .fabric, source: a, destination: b)
        func judged(
            _ bytes: [UInt8], at host: Int = 6, in domain: RoutingDomainID = .fabric, sealer: Int = 5
        ) -> String? {
            bytes.withUnsafeBytes { area in
                guard let flow = FlowPacket(area) else { return "no flow" }
                return InnerPacketsIntact.judge(area, flow: flow, at: host, in: domain, sealer: sealer, expected)
            }
        }
        let bytes = Array(buffer.bytes)
        #expect(judged(bytes) == nil)
        #expect(judged(bytes, at: 7)?.contains("another node") == true)
        #expect(judged(bytes, in: other)?.contains("domain other") == true)
        #expect(judged(bytes, sealer: 6)?.contains("sealed by another") == true)
        #expect(judged(bytes + [0, 0])?.contains("differ") == true, "padding stayed")
        var flipped = bytes
        flipped[300] ^= 1
        #expect(judged(flipped)?.contains("differ") == true)
        expected.source = b
        #expect(judged(bytes)?.contains("source") == true)
    }

    @Test func `a full queue passes, a fuller one does not`() {
        let limits = TunnelLimits.default
        #expect(
            QueuesBounded.judge(TunnelQueues(transmits: 4096, events: 0, handshakes: 4096, longestStaged: 32), limits)
                == nil)
        #expect(
            QueuesBounded.judge(TunnelQueues(transmits: 0, events: 0, handshakes: 0, longestStaged: 33), limits) != nil)
    }

    @Test func `rules have names, sentences and places of their own`() {
        #expect(Set(SafetyRule.allCases.map(\.name)).count == SafetyRule.allCases.count)
        #expect(SafetyRule.allCases.allSatisfy { !$0.sentence.isEmpty })
    }
}
