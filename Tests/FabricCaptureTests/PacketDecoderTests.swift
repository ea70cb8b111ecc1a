import FabricCapture
import FabricCore
import FabricTestSupport
import Testing

@Suite struct PacketDecoderTests {
    private func decode(_ frame: [UInt8], _ link: LinkType) -> DecodedPacket {
        frame.withUnsafeBytes { PacketDecoder.decode($0, link: link) }
    }

    @Test(arguments: [(Frames.north, Frames.south), (Frames.north6, Frames.south6)])
    func `UDP is found under every link layer, without the link's padding`(source: Endpoint, destination: Endpoint) {
        let packet = Frames.udp([1, 2, 3], from: source, to: destination)
        let type: [UInt8] = packet[0] >> 4 == 4 ? [8, 0] : [0x86, 0xDD]
        let flow = Flow(source: source, destination: destination, protocolNumber: 17)
        let frames: [(LinkType, [UInt8])] = [
            (.rawIP, packet),
            (.ethernet, Frames.ethernet(packet, padding: 18)),
            (.ethernet, [UInt8](repeating: 2, count: 12) + [0x81, 0, 0, 7] + type + packet),
            (.linuxCooked, [UInt8](repeating: 0, count: 14) + type + packet),
            (.linuxCooked2, type + [UInt8](repeating: 0, count: 18) + packet),
        ]
        for (link, frame) in frames {
            let decoded = decode(frame, link)
            #expect(decoded.flow == flow)
            guard case .udp(let payload) = decoded.content else {
                Issue.record("\(link): \(decoded.content)")
                continue
            }
            #expect(Array(frame[payload]) == [1, 2, 3])
        }
    }

    @Test func `TCP, ICMP, ARP and the rest are told apart`() {
        let segment = Frames.tcp([.syn, .ack], 0xFFFF_FFFF, [5], from: Frames.north, to: Frames.south)
        #expect(
            decode(segment, .rawIP).content
                == .tcp(
                    TCPSegment(
                        sequence: 0xFFFF_FFFF, isSYN: true, isACK: true, isFIN: false, isRST: false, payload: 40..<41)))
        #expect(decode(Frames.ip(1, Frames.north, Frames.south, [8, 0]), .rawIP).content == .icmp(type: 8))
        #expect(decode(Frames.ip(58, Frames.north6, Frames.south6, [135, 0]), .rawIP).content == .icmpv6(type: 135))
        #expect(decode(Frames.ip(47, Frames.north, Frames.south, []), .rawIP).content == .otherIP)
        let arp = [UInt8](repeating: 2, count: 12) + [8, 6] + [UInt8](repeating: 0, count: 28)
        #expect(decode(arp, .ethernet).content == .arp)
        #expect(
            decode([UInt8](repeating: 2, count: 12) + [0x88, 0xCC], .ethernet).content == .otherLink(etherType: 0x88CC))
    }

    @Test func `IPv6 extension headers are passed over, up to a limit`() {
        let udp = Array(Frames.udp([1], from: Frames.north6, to: Frames.south6)[40...])
        func nested(_ count: Int) -> [UInt8] {
            let headers = (0..<count).flatMap { index -> [UInt8] in
                [index == count - 1 ? 17 : 60, 0, 0, 0, 0, 0, 0, 0]
            }
            return Frames.ip(count == 0 ? 17 : 60, Frames.north6, Frames.south6, headers + udp)
        }
        for count in 0...7 {
            guard case .udp = decode(nested(count), .rawIP).content else {
                Issue.record("\(count) headers")
                continue
            }
        }
        guard case .malformed = decode(nested(8), .rawIP).content else {
            Issue.record("a limit")
            return
        }
        #expect(
            decode(Frames.ip(44, Frames.north6, Frames.south6, [17, 0, 0, 0, 0, 0, 0, 0]), .rawIP).content == .fragment)
    }

    @Test func `IPv4 fragments are named so`() {
        var packet = Frames.udp([1, 2, 3])
        packet[6] = 0x20
        #expect(decode(packet, .rawIP).content == .fragment)
        packet[6] = 0x40
        #expect(decode(packet, .rawIP).content == .udp(payload: 28..<31))
    }

    @Test func `lengths that contradict each other are malformed`() {
        let packet = Frames.udp([1, 2, 3])
        let edits: [(String, (inout [UInt8]) -> Void)] = [
            ("IP longer than the frame", { $0[3] += 1 }), ("IP shorter than its header", { $0[3] = 19 }),
            ("IP header too short", { $0[0] = 0x44 }), ("IP header beyond the packet", { $0[0] = 0x4F }),
            ("UDP longer than IP", { $0[25] += 1 }), ("UDP shorter than IP", { $0[25] -= 1 }),
        ]
        for (what, edit) in edits {
            var frame = packet
            edit(&frame)
            guard case .malformed = decode(frame, .rawIP).content else {
                Issue.record("\(what)")
                continue
            }
        }
    }

    @Test func `a packet that is cut anywhere is malformed and never traps`() {
        let packets = [
            Frames.udp([1, 2, 3]), Frames.tcp([.syn], 1, [4], from: Frames.north6, to: Frames.south6),
        ]
        for packet in packets {
            for count in 0..<packet.count {
                let content = decode(Array(packet[..<count]), .rawIP).content
                if count == 0 { continue }
                guard case .malformed = content else {
                    Issue.record("cut at \(count): \(content)")
                    continue
                }
            }
        }
    }

    @Test func `no bytes make the decoder or the verifier trap`() throws {
        let seeds = [
            Frames.ethernet(Frames.udp(Frames.wireGuard(1, bytes: 148))),
            Frames.ethernet(Frames.tcp([.syn], 9, [], from: Frames.north6, to: Frames.south6)),
            Frames.ethernet(
                Frames.tcp([.ack], 10, TLS.record(22, TLS.clientHello()), from: Frames.north6, to: Frames.south6)),
            Frames.ethernet(
                Frames.tcp([.ack], 77, TLS.record(22, TLS.serverHello()), from: Frames.south6, to: Frames.north6)),
        ]
        let links: [LinkType] = [.ethernet, .ethernet, .ethernet, .rawIP, .linuxCooked, .linuxCooked2]
        var verifier = CaptureVerifier(rules: .fabric(canaries: [[1, 2, 3, 4]], tunnelMTUs: [1420]))
        var frames: UInt64 = 0
        try Fuzz.run(corpus: seeds, seed: 7, iterations: 50_000) { frame in
            let link = links[Int(frames % UInt64(links.count))]
            frames += 1
            _ = frame.withUnsafeBytes {
                verifier.take($0, link: link, time: WallTime(seconds: 0), originalLength: $0.count)
            }
        }
        let verdict = verifier.finish()
        #expect(verdict.packets == frames)
        #expect(verdict.violations.count <= CaptureVerdict.maximumViolations)
        #expect(verdict.count(.wireGuardInitiation) > 0)
    }
}

@Suite struct WireGuardMessageTests {
    @Test(arguments: [
        (1, 148, PacketKind.wireGuardInitiation), (2, 92, .wireGuardResponse), (3, 64, .wireGuardCookie),
        (4, 32, .wireGuardTransport), (4, 1456, .wireGuardTransport), (4, 1452, .wireGuardTransport), (4, 1451, nil),
        (1, 147, nil), (2, 93, nil), (3, 48, nil),
        (4, 16, nil), (4, 33, nil), (0, 148, nil), (5, 64, nil),
    ])
    func `a message counts by its type and exact length`(type: UInt8, bytes: Int, kind: PacketKind?) {
        #expect(
            Frames.wireGuard(type, bytes: bytes).withUnsafeBytes { WireGuardMessage.classify($0, tunnelMTUs: [1420]) }
                == kind)
    }

    @Test func `the reserved bytes must be zero, and a short payload is none`() {
        for index in 1...3 {
            var message = Frames.wireGuard(1, bytes: 148)
            message[index] = 1
            #expect(message.withUnsafeBytes { WireGuardMessage.classify($0, tunnelMTUs: [1420]) } == nil)
        }
        for count in 0..<4 {
            #expect(
                [UInt8](repeating: 0, count: count).withUnsafeBytes {
                    WireGuardMessage.classify($0, tunnelMTUs: [1420])
                } == nil)
        }
    }
}
