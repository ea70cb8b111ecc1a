import FabricCore
import Testing

@testable import FabricTunnel

@Suite struct Tables {
    @Test func `The index table agrees with a dictionary`() {
        let random = SeededRandom(seed: 8, stream: "indexes")
        var table = IndexTable()
        var model: [UInt32: Int32] = [:]
        for _ in 0..<50_000 {
            // Few distinct low bits, so that probes run into each other, also around the end.
            let index = UInt32(random.below(4)) << 28 | UInt32(random.below(60)) | UInt32(random.below(2)) * 0xFFC0
            switch random.below(3) {
            case 0:
                let slot = Int(random.below(1000))
                table.set(index, peerSlot: slot, keyPair: nil)
                model[index] = Int32(slot)
            case 1:
                table.remove(index)
                model[index] = nil
            default: break
            }
            let (slot, count) = (table.find(index)?.peerSlot, table.count)
            #expect(slot == model[index] && count == model.count)
        }
        for (index, slot) in model {
            let found = table.find(index)?.peerSlot
            #expect(found == slot)
        }
    }

    @Test func `The heap of deadlines agrees with a search through the list`() {
        let random = SeededRandom(seed: 8, stream: "deadlines")
        var heap = DeadlineHeap()
        var model: [Int: Int64] = [:]
        for _ in 0..<20_000 {
            let slot = Int(random.below(50))
            if random.below(4) == 0 {
                heap.remove(slot)
                model[slot] = nil
            } else {
                let time = Int64(random.below(100))
                heap.set(slot, time)
                model[slot] = time
            }
            let first = model.min { ($0.value, $0.key) < ($1.value, $1.key) }
            #expect(heap.first.map { Int($0.slot) } == first?.key && heap.first?.nanoseconds == first?.value)
        }
    }

    @Test func `A bounded queue keeps order and its limit`() {
        let random = SeededRandom(seed: 8, stream: "queue")
        var queue = BoundedQueue<Int>(limit: 100)
        var model: [Int] = []
        for number in 0..<20_000 {
            if random.below(2) == 0 {
                let taken = queue.append(number)
                #expect(taken == (model.count < 100))
                if model.count < 100 { model.append(number) }
            } else {
                let popped = queue.popFirst()
                let expected = model.isEmpty ? nil : model.removeFirst()
                #expect(popped == expected)
            }
            #expect(queue.count == model.count && queue.first == model.first)
        }
        var none = BoundedQueue<Int>(limit: 0)
        let isDropped = none.appendDroppingOldest(1)
        let isTaken = none.append(2)
        #expect(isDropped && !isTaken && none.isEmpty)
    }

    @Test func `With 10,000 peers every deadline comes in its time, and none is early`() {
        let harness = TunnelHarness()
        let node = harness.addNode("192.0.2.1:1")
        node.tunnels.addDomain(id: .fabric, privateKey: [UInt8](repeating: 1, count: 32))
        let random = SeededRandom(seed: 8, stream: "keys")
        for number in 0..<10_000 {
            _ = node.tunnels.addPeer(
                domain: .fabric,
                PeerConfiguration(
                    publicKey: random.bytes(32), presharedKey: nil, allowedIPs: [],
                    endpoint: nil, persistentKeepalive: .seconds(1 + number % 60)))
        }
        var last = Instant.zero
        var wakes = 0
        while let deadline = node.tunnels.nextDeadline(), deadline.instant < .zero + .seconds(60) {
            #expect(deadline.instant > last || wakes == 0)
            guard case .timer(.persistentKeepalive, _) = deadline.reason else {
                Issue.record("\(deadline.reason)")
                break
            }
            last = deadline.instant
            wakes += 1
            node.tunnels.handleDeadline(now: Now(monotonic: last, wall: TunnelHarness.wallStart))
        }
        #expect(wakes == 60)
    }
}
