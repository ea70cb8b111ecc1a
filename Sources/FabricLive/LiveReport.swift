internal import FabricCore
public import FabricScenario
internal import Glibc

/// How a live run came out: what every host reports, and what the captures and the programs had to say.
public struct LiveReport: Sendable, Encodable {
    public var report: RunReport
    public var verdict: Verdict
    public var capture: CaptureSummary
    /// In the file's order.
    public var flows: [Flow]
    /// What went wrong beyond expectations: a program that ended, a step of the operator that was refused.
    public private(set) var troubles: [String]

    public struct Flow: Sendable, Hashable, Encodable {
        public var name: String
        /// Packets, of all pairs.
        public var sent: Int64
        public var arrived: Int64
    }

    init(
        plan: Plan, verdict: Verdict, capture: CaptureSummary, flows: [LiveFlows.Counts], troubles: [String],
        steps: Int, elapsed: Duration, wall: Duration
    ) {
        self.verdict = verdict
        self.capture = capture
        self.flows = zip(plan.flows, flows).map { Flow(name: $0.name, sent: $1.sent, arrived: $1.delivered) }
        self.troubles = troubles
        report = RunReport(plan: plan, host: .live, verdict: verdict)
        report.held = verdict.held && capture.held && troubles.isEmpty
        report.events = capture.packets + UInt64(steps)
        report.virtualSeconds = Double(elapsed.nanoseconds) / 1e9
        report.wallSeconds = Double(wall.nanoseconds) / 1e9
        report.peakResidentBytes = LiveReport.peakResidentBytes()
    }

    mutating func add(troubles more: [String]) {
        troubles += more
        if !more.isEmpty { report.held = false }
    }

    /// The expectations held, the underlay carried nothing else, and the run went as written.
    public var held: Bool { report.held }

    /// Tables for a person.
    public var text: String {
        var text = verdict.table + capture.text
        for flow in flows { text += "flow      \(flow.name): \(flow.arrived) of \(flow.sent) packets arrived\n" }
        for trouble in troubles { text += "trouble   \(trouble)\n" }
        text += report.summary
        if verdict.held, !held {
            text += "          the expectations held, but \(capture.held ? "there was trouble" : "the capture broke")\n"
        }
        return text
    }

    enum CodingKeys: String, CodingKey { case capture, flows, troubles }

    /// One object: the report's members, and these.
    public func encode(to encoder: any Encoder) throws {
        try report.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(capture, forKey: .capture)
        try container.encode(flows, forKey: .flows)
        try container.encode(troubles, forKey: .troubles)
    }

    /// Of this program or the largest of those it ran and waited for.
    private static func peakResidentBytes() -> UInt64 {
        var own = rusage()
        var children = rusage()
        getrusage(RUSAGE_SELF.rawValue, &own)
        getrusage(RUSAGE_CHILDREN.rawValue, &children)
        return UInt64(max(own.ru_maxrss, children.ru_maxrss)) * 1024
    }
}
