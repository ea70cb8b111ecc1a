import FabricCore
import FabricCrypto
import Testing

@testable import FabricTunnel

/// What can't be copied can't be an operand of `#expect`.
private final class Window {
    private var window = ReplayWindow()
    func admits(_ counter: UInt64) -> Bool { window.admits(counter) }
    func insert(_ counter: UInt64) { window.insert(counter) }
}

@Suite struct Replay {
    @Test func `The window agrees with a set of all counters seen`() {
        for (seed, spread) in [(1, 100), (2, 8000), (3, 20_000), (4, 200)] as [(UInt64, UInt64)] {
            let random = SeededRandom(seed: seed, stream: "window")
            let window = Window()
            var seen: Set<UInt64> = []
            var top: UInt64 = 0
            for _ in 0..<20_000 {
                let forward = random.below(50) == 0 ? random.below(3 * ReplayWindow.bits) : random.below(3)
                let back = random.below(spread)
                let counter = top + forward > back ? top + forward - back : 0
                let isBehind = !seen.isEmpty && counter + ReplayWindow.size < top + 1
                #expect(window.admits(counter) == (!seen.contains(counter) && !isBehind))
                if window.admits(counter) {
                    window.insert(counter)
                    seen.insert(counter)
                    top = max(top, counter)
                }
            }
        }
    }

    @Test(arguments: [0, 1, 62, 63, 64, 65, 200, 9000] as [UInt64])
    func `What was received before a session outgrows its first 64 counters is still refused after`(_ next: UInt64) {
        let window = Window()
        for counter in stride(from: UInt64(0), to: 64, by: 3) where counter != next { window.insert(counter) }
        window.insert(next)
        for counter in UInt64(0)..<64 {
            let isBehind = counter + ReplayWindow.size < next + 1
            #expect(window.admits(counter) == (counter % 3 != 0 && counter != next && !isBehind))
        }
    }

    @Test func `The edges of the window are where they are said to be`() {
        let window = Window()
        window.insert(0)
        #expect(!window.admits(0) && window.admits(1))
        window.insert(ReplayWindow.size)
        #expect(window.admits(1) && !window.admits(0))
        window.insert(1 << 50)
        #expect(window.admits((1 << 50) - ReplayWindow.size + 1))
        #expect(!window.admits((1 << 50) - ReplayWindow.size))
        window.insert(TunnelLimits.protocolRejectAfterMessages - 1)
        #expect(!window.admits(TunnelLimits.protocolRejectAfterMessages - 1))
    }

    @Test func `Datagrams may come in any order, each once`() {
        let pair = TunnelPair()
        pair.establish()
        pair.harness.loses = { _ in true }
        var datagrams: [[UInt8]] = []
        for _ in 0..<200 {
            pair.ping()
            datagrams.append(pair.harness.sent.last!.bytes)
        }
        let random = SeededRandom(seed: 2, stream: "order")
        for index in datagrams.indices.dropFirst().reversed() {
            datagrams.swapAt(index, Int(random.below(UInt64(index + 1))))
        }
        for datagram in datagrams {
            #expect(
                pair.harness.deliver(datagram, to: pair.b, from: pair.a.address)
                    == .packet(TunnelPair.blue, pair.peerA))
            #expect(pair.harness.deliver(datagram, to: pair.b, from: pair.a.address) == .dropped(.replayed))
        }
        #expect(pair.b.delivered.count == 201)
        #expect(pair.b.tunnels.counters[.replayed] == 200)
    }

    @Test func `A forged datagram does not use up its counter`() {
        let pair = TunnelPair()
        pair.establish()
        pair.harness.loses = { _ in true }
        pair.ping()
        let genuine = pair.harness.sent.last!.bytes
        var forged = genuine
        forged[20] ^= 1
        #expect(pair.harness.deliver(forged, to: pair.b, from: pair.a.address) == .dropped(.notAuthentic))
        #expect(
            pair.harness.deliver(genuine, to: pair.b, from: pair.a.address) == .packet(TunnelPair.blue, pair.peerA))
    }

    @Test func `Segments sealed in one call open in one call, and one by one`() {
        let cryptography = SystemCryptography()
        let key = [UInt8](repeating: 8, count: 32)
        var send = SendHalf(key: cryptography.packetKey(key), receiverIndex: 77, rejectAfterMessages: 10)
        var receive = ReceiveHalf(key: cryptography.packetKey(key), rejectAfterMessages: 10)
        let stride = 1408 + 32
        let area = UnsafeMutableRawPointer.allocate(byteCount: 4 * stride, alignment: 16)
        defer { area.deallocate() }
        for slot in 0..<4 {
            for offset in 0..<1400 {
                area.storeBytes(of: UInt8(slot), toByteOffset: slot * stride + 16 + offset, as: UInt8.self)
            }
        }
        let total = send.sealSegments(
            area, count: 4, stride: stride, packetLength: 1400, lastPacketLength: 100, mtu: 1420)
        #expect(total == 3 * stride + 112 + 32)
        let results = UnsafeMutableBufferPointer<Int32>.allocate(capacity: 4)
        defer { results.deallocate() }
        area.storeBytes(of: 0, toByteOffset: 2 * stride + 700, as: UInt8.self)
        receive.openSegments(area, count: 4, stride: stride, lastLength: 112 + 32, results: results)
        #expect(Array(results) == [1408, 1408, ReceiveHalf.Outcome.notAuthentic.rawValue, 112])
        #expect(area.load(fromByteOffset: stride + 16 + 1399, as: UInt8.self) == 1)
        #expect(area.load(fromByteOffset: stride + 16 + 1400, as: UInt8.self) == 0, "padding")
        let tooMany = send.sealSegments(
            area, count: 7, stride: stride, packetLength: 1400, lastPacketLength: 100, mtu: 1420)
        #expect(tooMany == nil)
        let counter = send.nextCounter
        #expect(counter == 4)
    }
}
