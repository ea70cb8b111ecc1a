internal import FabricCore
internal import FabricDocument
internal import FabricScenario
internal import Foundation
internal import Simulator

/// What the report of a child's run says, as far as a search needs it.
struct RunRecord {
    struct Broken {
        var name: String
        var why: String?
        var decidedAt: Duration?
        var isRule: Bool
    }

    var traceHash: String
    var events: Int64
    var coverage: [String]
    /// In the report's order.
    var broken: [Broken]
    var expectations: [String]

    /// Nil when the output is no report.
    init?(_ output: [UInt8]) {
        guard let node = try? JSON.parse(output, limits: DocumentLimits(maximumBytes: ChildPool.maximumOutput)),
            let hash = node["traceHash"]?.string, let results = node["expectations"]?.array
        else { return nil }
        traceHash = hash
        events = node["events"]?.integer ?? 0
        coverage = node["coverage"]?.array?.compactMap(\.string) ?? []
        expectations = results.compactMap { $0["name"]?.string }
        broken = results.compactMap { result in
            guard let name = result["name"]?.string, let outcome = result["outcome"]?.string else { return nil }
            let isRequired = result["required"]?.bool ?? true
            guard outcome == "broken" || outcome == "not reached" && isRequired else { return nil }
            return Broken(
                name: name, why: result["why"]?.string,
                decidedAt: result["decidedAtSeconds"].flatMap { RunRecord.seconds($0) },
                isRule: result["kind"]?.string == "rule")
        }
    }

    /// The rule that a result of this name tells of: `rule NAME: what holds`.
    static func ruleName(_ name: String) -> String? {
        guard name.hasPrefix("rule ") else { return nil }
        return name.dropFirst("rule ".count).split(separator: ":").first.map(String.init)
    }

    private static func seconds(_ node: DocumentNode) -> Duration? {
        switch node.value {
        case .integer(let number): .seconds(number)
        case .number(let number): .milliseconds(Int64((number * 1000).rounded(.up)))
        default: nil
        }
    }

    /// How a child's run failed, each way once; empty when it held.
    static func failures(_ result: ChildResult, _ record: RunRecord?) -> [String] {
        let last = result.errors.split(separator: "\n").last.map { String($0.prefix(300)) }
        switch result.ending {
        case .overran: return ["it took longer than a run may"]
        case .signalled(let number):
            return ["signal \(number) (\(String(cString: strsignal(number))))" + (last.map { ": \($0)" } ?? "")]
        case .exited(0): return record == nil ? ["it ended without a report"] : []
        case .exited(let status):
            guard let record, status == 1 else { return ["status \(status)" + (last.map { ": \($0)" } ?? "")] }
            return record.broken.isEmpty ? [last ?? "status 1"] : record.broken.map(\.name)
        }
    }
}
