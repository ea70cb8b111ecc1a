internal import ArgumentParser
internal import FabricCore
internal import FabricOperator
internal import FabricRuntime
internal import FabricWire

struct AuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "Shows a cluster's audit trail, and checks its chain of hashes.",
        discussion: "Each event's hash covers the one before it. A broken chain ends with exit code 1.")
    @OptionGroup var global: GlobalOptions
    @Argument(help: "The cluster.") var cluster: String
    @Option(help: "Only events after this number.") var after: Int64 = 0

    func run() throws {
        let id: ClusterID = try identifier(cluster, "a cluster's name")
        guard after >= 0 else { throw ValidationError("--after: \(after) is not a number of an event") }
        let session = try global.session()
        let events = try session.all({ session.calls.audit(id, $0) }, after: after == 0 ? nil : "\(after)")
        try global.show(events) {
            var table = Table(["NUMBER", "AT", "ACTOR", "EVENT", "SUBJECT", "DETAIL"])
            for event in events {
                table.add([
                    "\(event.sequence)", time(event.at), event.actor, event.event, event.subject, event.detail,
                ])
            }
            return table.text
        }
        let previous = after == 0 ? ControlAPI.AuditEvent.firstPrevious : nil
        if let broken = session.brokenLink(in: events, of: id, previous: previous) {
            throw Failure(
                "the audit trail was changed: event \(broken.sequence) does not follow from the one before it")
        }
    }
}
