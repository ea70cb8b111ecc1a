import FabricCapture
import FabricCore
import Testing

@testable import FabricLive

struct CaptureSummaryTests {
    private static let canary = [UInt8](0..<32)
    private static let control = Endpoint(address: IPAddress("10.1.0.2")!, port: 8443)

    /// Ethernet, IPv4 and UDP around a payload, from and to port 51820 unless said otherwise.
    private func frame(_ payload: [UInt8], port: UInt16 = 51820) -> [UInt8] {
        frame(protocolNumber: 17, two(Int(port)) + two(51820) + two(8 + payload.count) + [0, 0] + payload)
    }

    private func frame(protocolNumber: UInt8, _ contents: [UInt8]) -> [UInt8] {
        let ip: [UInt8] =
            [0x45, 0] + two(20 + contents.count) + [0, 0, 0, 0, 64, protocolNumber, 0, 0] + [10, 1, 0, 3]
            + [10, 2, 0, 2]
        return [UInt8](repeating: 2, count: 12) + [8, 0] + ip + contents
    }

    private func two(_ value: Int) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 255)] }

    private var initiation: [UInt8] { [1, 0, 0, 0] + [UInt8](repeating: 0xAA, count: 144) }

    private func judge(
        _ frames: [[UInt8]], arrived: Int = 1, tunnelWasUp: Bool = true, dropped: UInt64 = 0,
        processesDie: Bool = false
    ) throws -> CaptureSummary {
        let work = try WorkFolder()
        defer { try? work.remove() }
        let path = work.captures + "/link.pcap"
        do {
            let writer = try CaptureWriter(path: path, link: .ethernet)
            for frame in frames { frame.withUnsafeBytes { writer.write($0, time: WallTime(seconds: 1)) } }
            try writer.flush()
        }
        return try CaptureSummary.judge(
            [RecordedLink(name: "a", path: path, dropped: dropped)], control: Self.control, canary: Self.canary,
            canary: .init(sent: 1, arrived: arrived, pairs: []), tunnelWasUp: tunnelWasUp,
            processesDie: processesDie)
    }

    @Test func `tunnels between nodes' ports hold`() throws {
        let summary = try judge([frame(initiation)])
        #expect(summary.held, "\(summary.violations)")
        #expect(summary.kinds == ["wireguard-initiation": 1])
    }

    @Test func `what is not a tunnel, or not between nodes' ports, breaks it`() throws {
        #expect(try !judge([frame([1, 2, 3])]).held)
        #expect(try !judge([frame(initiation, port: 4000)]).held)
    }

    @Test func `the canary breaks it even inside what looks like a tunnel`() throws {
        let header: [UInt8] = [4, 0, 0, 0] + [UInt8](repeating: 1, count: 12)
        let leak = header + Self.canary + [UInt8](repeating: 0, count: 16)
        let summary = try judge([frame(leak)])
        #expect(!summary.held)
        #expect(summary.violations.count == 1)
    }

    @Test func `a canary that never came out of a tunnel that was up breaks it`() throws {
        #expect(try !judge([], arrived: 0).held)
        #expect(try judge([], arrived: 0, tunnelWasUp: false).held)
    }

    @Test func `a capture that lost frames proves nothing`() throws {
        #expect(try !judge([frame(initiation)], dropped: 1).held)
    }

    @Test func `only where processes die may a kernel say that nobody listens, and that alone`() throws {
        let unreachable = frame(protocolNumber: 1, [3, 3, 0, 0, 0, 0, 0, 0])
        #expect(try judge([unreachable], processesDie: true).held)
        #expect(try !judge([unreachable]).held)
        #expect(try !judge([frame(protocolNumber: 1, [8, 0, 0, 0, 0, 0, 0, 0])], processesDie: true).held)
    }
}
