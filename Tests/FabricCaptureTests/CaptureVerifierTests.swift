import FabricCapture
import FabricCore
import Testing

@Suite struct CaptureVerifierTests {
    private static let canary = SeededRandom(seed: 1, stream: "canary").bytes(32)
    private let client = Endpoint("192.0.2.1:40000")!
    private let server = Endpoint("192.0.2.9:8443")!

    private func verdict(
        _ packets: [[UInt8]], rules: CaptureRules = .fabric(canaries: [canary], tunnelMTUs: [1420]), cutBy cut: Int = 0
    ) -> CaptureVerdict {
        var verifier = CaptureVerifier(rules: rules)
        for (index, packet) in packets.enumerated() {
            _ = packet.withUnsafeBytes {
                verifier.take(
                    $0, link: .rawIP, time: WallTime(seconds: Int64(index)), originalLength: $0.count + cut)
            }
        }
        return verifier.finish()
    }

    private func reasons(_ verdict: CaptureVerdict) -> [Violation.Reason] { verdict.violations.map(\.reason) }

    private var opening: [[UInt8]] {
        [
            Frames.tcp([.syn], 999, from: client, to: server),
            Frames.tcp([.syn, .ack], 4999, from: server, to: client),
            Frames.tcp([.ack], 1000, from: client, to: server),
        ]
    }

    private func fromClient(_ offset: Int, _ bytes: [UInt8]) -> [UInt8] {
        Frames.tcp([.ack], UInt32(1000 + offset), bytes, from: client, to: server)
    }

    private func fromServer(_ offset: Int, _ bytes: [UInt8]) -> [UInt8] {
        Frames.tcp([.ack], UInt32(5000 + offset), bytes, from: server, to: client)
    }

    private var clientBytes: [UInt8] {
        TLS.record(22, TLS.clientHello(), version: 0x0301) + TLS.record(20, [1])
            + TLS.record(23, .init(repeating: 3, count: 700))
    }

    private var serverBytes: [UInt8] {
        TLS.record(22, TLS.serverHello()) + TLS.record(20, [1]) + TLS.record(23, .init(repeating: 4, count: 900))
    }

    @Test func `WireGuard, TLS 1.3 and what links need hold, and are counted`() {
        let arpless = Frames.ip(58, Frames.north6, Frames.south6, [135, 0, 0, 0])
        let result = verdict(
            [Frames.udp(Frames.wireGuard(1, bytes: 148)), Frames.udp(Frames.wireGuard(2, bytes: 92)), arpless]
                + (0..<5).map { _ in Frames.udp(Frames.wireGuard(4, bytes: 1456)) }
                + opening + [fromClient(0, clientBytes), fromServer(0, serverBytes)])
        #expect(result.held, "\(result)")
        #expect(result.tlsConnections == 1)
        #expect(
            result.counts.map { "\($0.kind.rawValue)=\($0.packets)" } == [
                "neighbor-discovery=1", "tcp-control=3", "tls=2", "wireguard-initiation=1", "wireguard-response=1",
                "wireguard-transport=5",
            ])
    }

    @Test
    func `datagrams that were sent in one call count as what they are, and one stranger among them as a stranger`() {
        func message(_ counter: UInt8, _ count: Int) -> [UInt8] {
            [4, 0, 0, 0, 9, 9, 9, 9, counter] + [UInt8](repeating: 0, count: 7)
                + [UInt8](repeating: 0xAB, count: count - 16)
        }
        let run = message(1, 1452) + message(2, 1452) + message(3, 96)
        let whole = verdict([Frames.udp(run)])
        #expect(whole.held && whole.count(.wireGuardTransport) == 1)
        #expect(!verdict([Frames.udp(run + [1])]).held)
        // A rekey between the first two.
        var rekeyed = message(7, 1452)
        rekeyed[4] = 8
        #expect(verdict([Frames.udp(rekeyed + message(0, 1452) + message(1, 96))]).held)
        #expect(!verdict([Frames.udp(message(1, 1452) + message(3, 1452))]).held)
        var stranger = message(1, 1452) + message(2, 1452) + message(3, 1452)
        stranger[2 * 1452] = 7
        #expect(!verdict([Frames.udp(stranger)]).held)
        #expect(!verdict([Frames.udp(message(1, 1451) + message(2, 1451))]).held)
    }

    @Test func `other traffic is a violation that names packet, time, flow and reason`() throws {
        let result = verdict([
            Frames.udp(Frames.wireGuard(1, bytes: 148)), Frames.udp([1, 2, 3], to: Endpoint("198.51.100.2:53")!),
        ])
        #expect(result.violationCount == 1)
        let violation = try #require(result.violations.first)
        #expect(violation.packetNumber == 2)
        #expect(violation.reason == .kindNotAllowed(.otherUDP))
        #expect(
            "\(violation)"
                == "packet 2 at 1970-01-01T00:00:01Z udp 192.0.2.1:51820 > 198.51.100.2:53: other-udp is not allowed")
    }

    @Test func `ICMP is no infrastructure: it may carry a tunnel's contents`() {
        #expect(reasons(verdict([Frames.ip(1, Frames.north, Frames.south, [8, 0])])) == [.kindNotAllowed(.icmp)])
    }

    @Test func `peers are held to their rules`() {
        var rules = CaptureRules.fabric(canaries: [], tunnelMTUs: [1420])
        rules.restrict(
            PacketKind.wireGuard, to: .among([EndpointPattern(Frames.north), EndpointPattern(Frames.south)]))
        rules.restrict([.tls, .tcpControl], to: .with([EndpointPattern(server)]))
        let message = Frames.wireGuard(1, bytes: 148)
        let stranger = Endpoint("203.0.113.7:51820")!
        #expect(verdict([Frames.udp(message)] + opening, rules: rules).held)
        #expect(
            reasons(verdict([Frames.udp(message, to: stranger)], rules: rules))
                == [.peerNotAllowed(.wireGuardInitiation)])
        #expect(
            reasons(verdict([Frames.tcp([.syn], 1, from: client, to: stranger)], rules: rules))
                == [.peerNotAllowed(.tcpControl)])
    }

    @Test func `a canary anywhere in a packet is found`() {
        var message = Frames.wireGuard(4, bytes: 320)
        message.replaceSubrange(100..<132, with: Self.canary)
        #expect(reasons(verdict([Frames.udp(message)])) == [.canary])
        message[131] ^= 1
        #expect(verdict([Frames.udp(message)]).held)
    }

    @Test(arguments: [1, 5, 16, 31])
    func `a canary across two segments is found, whatever their order`(split: Int) {
        let bytes = clientBytes + TLS.record(23, [9, 9] + Self.canary + [9])
        let seam = bytes.count - 1 - 32 + split
        let (head, tail) = (Array(bytes[..<seam]), Array(bytes[seam...]))
        #expect(reasons(verdict(opening + [fromClient(0, head), fromClient(seam, tail)])) == [.canaryAcrossSegments])
        #expect(reasons(verdict(opening + [fromClient(seam, tail), fromClient(0, head)])) == [.canaryAcrossSegments])
    }

    @Test func `a canary in segments of one byte is found`() {
        let bytes = clientBytes + TLS.record(23, Self.canary)
        let segments = bytes.indices.map { fromClient($0, [bytes[$0]]) }
        #expect(reasons(verdict(opening + segments)) == [.canaryAcrossSegments])
    }

    @Test func `segments in any order, repeated and overlapping, make the same stream`() {
        let random = SeededRandom(seed: 3, stream: "reordering")
        for _ in 0..<200 {
            var segments: [[UInt8]] = []
            let bytes = serverBytes
            var offset = 0
            while offset < bytes.count {
                let begin = max(0, offset - Int(random.below(30)))
                let end = min(bytes.count, offset + 1 + Int(random.below(300)))
                segments.append(fromServer(begin, Array(bytes[begin..<end])))
                if random.below(3) == 0 { segments.append(segments[segments.count - 1]) }
                offset = end
            }
            for index in segments.indices.dropFirst() { segments.swapAt(index, Int(random.below(UInt64(index + 1)))) }
            let result = verdict(opening + [fromClient(0, clientBytes)] + segments)
            #expect(result.held, "\(result)")
            #expect(result.tlsConnections == 1)
        }
    }

    @Test func `sequence numbers wrap around`() {
        let start: UInt32 = 0xFFFF_FFF0
        let bytes = clientBytes
        let result = verdict(
            [Frames.tcp([.syn], start &- 1, from: client, to: server)]
                + stride(from: 0, to: bytes.count, by: 50).map { offset in
                    Frames.tcp(
                        [.ack], start &+ UInt32(offset), Array(bytes[offset..<min(offset + 50, bytes.count)]),
                        from: client, to: server)
                })
        #expect(result.held, "\(result)")
    }

    @Test func `what can't be checked is a violation: no beginning, a gap, a cut packet, lost packets`() {
        #expect(
            reasons(verdict([fromClient(0, clientBytes), fromServer(0, serverBytes)]))
                == [.connectionBeginningNotCaptured, .kindNotAllowed(.otherTCP), .kindNotAllowed(.otherTCP)])
        #expect(reasons(verdict(opening + [fromClient(0, clientBytes), fromClient(2_000, [1])])) == [.streamGap])
        #expect(reasons(verdict([Frames.udp(Frames.wireGuard(1, bytes: 148))], cutBy: 1)) == [.packetCutByCapture])
        let verifier = CaptureVerifier(rules: .fabric(canaries: [], tunnelMTUs: [1420]))
        #expect(reasons(verifier.finish(lost: 3)) == [.packetsLostByCapture(3)])
    }

    @Test func `more out-of-order bytes than are kept is a violation, not memory`() {
        let big = [UInt8](repeating: 0, count: 60_000)
        let result = verdict(opening + (0..<40).map { fromClient(1 + $0 * 60_000, big) })
        #expect(reasons(result).first == .tooMuchOutOfOrder)
    }

    @Test func `a new connection on the same ports begins anew`() {
        let again = Frames.tcp([.syn], 77_999, from: client, to: server)
        let hello = Frames.tcp([.ack], 78_000, clientBytes, from: client, to: server)
        let result = verdict(opening + [fromClient(0, clientBytes), again, hello])
        #expect(result.held, "\(result)")
    }

    @Test func `packets seen twice, as a router's interfaces show them, change nothing`() {
        let once = opening + [fromClient(0, clientBytes), fromServer(0, serverBytes)]
        let result = verdict(once.flatMap { [$0, $0] })
        #expect(result.held, "\(result)")
        #expect(result.tlsConnections == 1)
    }

    @Test func `stored violations are bounded, counted ones are not`() {
        let result = verdict((0..<1_500).map { _ in Frames.udp([1]) })
        #expect(result.violations.count == CaptureVerdict.maximumViolations)
        #expect(result.violationCount == 1_500)
    }

    @Test func `many connections push out the oldest`() {
        let result = verdict(
            (0..<20_000).map { index in
                let source = Endpoint(address: IPAddress(v4: 0x0A00_0000 + UInt32(index)), port: 1000)
                return Frames.tcp([.syn], 1, from: source, to: server)
            })
        #expect(result.held)
        #expect(result.count(.tcpControl) == 20_000)
    }
}

@Suite struct TLSStreamTests {
    private static let hello = TLS.record(22, TLS.clientHello())
    private static let answer = TLS.record(22, TLS.serverHello())
    private static let data = TLS.record(23, [1, 2, 3])

    /// The violations of a connection in which each side sends these bytes.
    private func violations(client: [UInt8] = hello, server: [UInt8] = []) -> [TLSViolation] {
        let (a, b) = (Endpoint("192.0.2.1:40000")!, Endpoint("192.0.2.9:8443")!)
        var verifier = CaptureVerifier(rules: .fabric(canaries: [], tunnelMTUs: [1420]))
        for packet in [
            Frames.tcp([.syn], 0, from: a, to: b), Frames.tcp([.syn, .ack], 0, from: b, to: a),
            Frames.tcp([.ack], 1, client, from: a, to: b), Frames.tcp([.ack], 1, server, from: b, to: a),
        ] {
            _ = packet.withUnsafeBytes {
                verifier.take($0, link: .rawIP, time: WallTime(seconds: 0), originalLength: $0.count)
            }
        }
        return verifier.finish().violations.compactMap {
            if case .tls(let violation) = $0.reason { violation } else { nil }
        }
    }

    @Test func `TLS 1.3 passes, with a retry request, fragmented hellos and early alerts too`() {
        #expect(violations(client: Self.hello + Self.data, server: Self.answer + Self.data + Self.data) == [])
        let retry = TLS.record(22, TLS.serverHello(random: TLS.retryRandom))
        #expect(violations(client: Self.hello + Self.hello + Self.data, server: retry + Self.answer + Self.data) == [])
        let message = TLS.clientHello()
        #expect(violations(client: TLS.record(22, Array(message[..<10])) + TLS.record(22, Array(message[10...]))) == [])
        #expect(violations(server: Self.answer + TLS.record(21, [2, 40])) == [])
    }

    @Test func `HTTP, SSH and other plaintext is no TLS`() {
        for text in ["GET / HTTP/1.1\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "\0\0\0\0\0\0"] {
            guard case .notARecord = violations(client: Array(text.utf8)).first else {
                Issue.record("\(text)")
                continue
            }
        }
    }

    @Test func `older TLS is refused by what the hellos say`() {
        #expect(violations(client: TLS.record(22, TLS.clientHello(offering: [0x0303]))) == [.notTLS13])
        #expect(violations(client: TLS.record(22, TLS.clientHello(offering: []))) == [.notTLS13])
        #expect(violations(server: TLS.record(22, TLS.serverHello(picking: nil))) == [.notTLS13])
        #expect(violations(server: TLS.record(22, TLS.serverHello(picking: 0x0303))) == [.notTLS13])
    }

    @Test func `nothing but hellos goes in the clear`() {
        let certificate: [UInt8] = [11, 0, 0, 1, 0]
        #expect(
            violations(server: TLS.record(22, TLS.serverHello() + certificate)) == [
                .unexpectedHandshakeMessage(type: 11)
            ])
        #expect(
            violations(server: Self.answer + TLS.record(22, certificate)) == [.plaintextAfterHello(contentType: 22)])
        #expect(
            violations(server: Self.answer + Self.data + TLS.record(21, [1, 0])) == [
                .plaintextAfterHello(contentType: 21)
            ])
        #expect(violations(server: Self.answer + Self.answer) == [.plaintextAfterHello(contentType: 22)])
        #expect(violations(client: Self.answer) == [.unexpectedHandshakeMessage(type: 2)])
    }

    @Test func `records keep to their form`() {
        let tooLong = [23] as [UInt8] + Frames.words(0x0303, 16_641)
        #expect(
            violations(client: Self.hello + tooLong) == [.notARecord(contentType: 23, version: 0x0303, length: 16_641)])
        #expect(violations(client: Self.data) == [.doesNotBeginWithHandshake(contentType: 23)])
        #expect(
            violations(client: Self.hello + TLS.record(23, [1], version: 0x0301))
                == [.notARecord(contentType: 23, version: 0x0301, length: 1)])
        #expect(violations(client: Self.hello + TLS.record(24, [1])).count == 1)
        #expect(violations(client: TLS.record(22, Array(TLS.clientHello()[..<10])) + Self.data) == [.malformedHello])
    }

    @Test func `a hello whose lengths lie is malformed, wherever it is cut`() {
        let hello = TLS.clientHello()
        for count in 4..<hello.count {
            let body = Array(hello[4..<count])
            let cut: [UInt8] = [1, 0] + Frames.words(UInt16(body.count)) + body
            #expect(!violations(client: TLS.record(22, cut)).isEmpty)
        }
        let endless = TLS.record(22, [1, 1, 0, 0] + [UInt8](repeating: 0, count: 16_000))
        #expect(violations(client: endless) == [.helloTooLarge])
    }
}
