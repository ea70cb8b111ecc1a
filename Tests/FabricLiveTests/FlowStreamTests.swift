import FabricCore
import FabricScenario
import Testing

@testable import FabricLive

struct FlowStreamTests {
    /// 40 kbit/s in packets of 250 bytes: one every 50 ms.
    private func stream(for seconds: Int = 1) throws -> FlowStream {
        let plan = try scenario(
            timeline: """
                  - at: 0s
                    token: { name: t, uses: 9, lifetime: 10m }
                  - at: 1s
                    flow: { name: there, from: a, to: b-1, rate: 40kbit/s, packet: 250B, for: \(seconds)s }
                """)
        #expect(LivePlan.refusals(plan) == [])
        return FlowStream(plan, flow: 0, plan.flows[0].pairs[0], start: .zero)
    }

    @Test func `datagrams leave in time, from the first moment to before the last`() throws {
        var stream = try stream()
        var times: [Duration] = []
        while let due = stream.due {
            times.append(due - .zero)
            let number = stream.send()
            #expect(number == times.count - 1)
        }
        #expect(times == (0..<20).map { .milliseconds(50 * $0) })
        #expect(stream.bytes == 250 - 48)
    }

    @Test func `who was kept waiting makes up for a part, in step`() throws {
        var stream = try stream()
        stream.skip(until: .zero + .milliseconds(320), patience: .milliseconds(200))
        #expect(stream.due == .zero + .milliseconds(150))
        stream.skip(until: .zero + .milliseconds(320), patience: .milliseconds(200))
        #expect(stream.due == .zero + .milliseconds(150))
        stream.skip(through: .zero + .milliseconds(150))
        #expect(stream.due == .zero + .milliseconds(200))
        stream.skip(through: .zero + .seconds(5))
        #expect(stream.due == nil)
    }

    @Test func `a datagram counts once, and only when it was sent`() throws {
        var stream = try stream(for: 8)
        var counted = [stream.arrive(0)]
        for _ in 0..<130 { _ = stream.send() }
        for number in [129, 0, 64, 129, 130, 0, 1] { counted.append(stream.arrive(number)) }
        #expect(counted == [false, true, true, true, false, false, false, true])
    }

    @Test func `a datagram is known by its bytes, and any change shows`() {
        let canary = (0..<32).map { UInt8($0 ^ 0x5A) }
        let datagram = FlowDatagram(stream: 3, number: 70_000)
        for count in [16, 17, 48, 49, 1372] {
            let bytes = datagram.bytes(count: count, canary: canary)
            #expect(bytes.count == count)
            #expect(bytes.withUnsafeBytes { FlowDatagram($0, canary: canary) } == datagram)
            guard count > 16 else { continue }
            for index in [16, count - 1] {
                var damaged = bytes
                damaged[index] ^= 1
                #expect(damaged.withUnsafeBytes { FlowDatagram($0, canary: canary) } == nil)
            }
        }
        let short = [UInt8](repeating: 0, count: 15)
        #expect(short.withUnsafeBytes { FlowDatagram($0, canary: canary) } == nil)
        let huge = [UInt8](repeating: 0xFF, count: 16)
        #expect(huge.withUnsafeBytes { FlowDatagram($0, canary: canary) } == nil)
    }
}
