internal import FabricCore
internal import FabricDocument

/// What resolvers tell nodes that look the control plane up.
public enum DNSAnswer: String, NamedChoice {
    /// Where it is.
    case truth
    /// The address of somebody else, who takes connections and shows certificates of his own.
    case impostor
    /// That there is no such name.
    case noName = "no-name"
    /// Nothing: lookups time out.
    case silence
    /// Where it was before it last moved; where it is when it never has.
    case stale
    public static let noun = "answer"
}

/// Resolvers lie to some nodes, for a while.
struct DNSLiesEntry: Decodable, Sendable {
    var nodes: Selector
    var answer: DNSAnswer
    var duration: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes, answer
        case duration = "for"
    }
}

extension Planner {
    mutating func readControlName() {
        guard let control = header.world.control?.value else { return }
        if let name = control.name {
            plan.controlName = HostName(name.value)
            if plan.controlName == nil {
                refuse(
                    name,
                    "“\(name.value.prefix(40))” is no host name; one such as control.example.net, of letters, digits and -"
                )
            }
            liveCannot("the control plane is known by name", name.position)
        }
        guard let lifetime = control.answersLive else { return }
        if control.name == nil { refuse(lifetime, "“answers-live” goes with a “name”, which is looked up") }
        if !(Duration.seconds(1)...(.hours(24))).contains(lifetime.value.duration) {
            refuse(lifetime, "answers live from 1s to 24h")
        }
        plan.answerLifetime = lifetime.value.duration
    }

    mutating func addDNSLies(_ entry: DNSLiesEntry, _ step: Located<StepEntry>, _ start: Duration) -> Duration {
        if plan.controlName == nil {
            refuse(
                step,
                "nothing is looked up in this world; give the control plane a name: “control: {name: control.example.net}”"
            )
        }
        if entry.answer == .truth, let duration = entry.duration { refuse(duration, "the truth is no lie that ends") }
        let nodes = select(entry.nodes)
        liveCannot("resolvers lie", step.position)
        return emit(
            .dnsAnswers(nodes, entry.answer), until: entry.duration, then: .dnsAnswers(nodes, .truth), step, start)
    }

    /// `readdress: { nodes: control }`
    mutating func moveControl(_ entry: ReaddressEntry, _ step: Located<StepEntry>, _ time: Duration) {
        if plan.controlName == nil {
            refuse(
                step,
                "nodes know the control plane by its address; give it a name: “control: {name: control.example.net}”")
        }
        if entry.told != nil {
            refuse(
                step,
                "“told” is for nodes; to keep the control plane's new address from them, use “dns-lies” with “answer: stale”"
            )
        }
        emit(.hostFault(.moveControl), at: time, step)
        liveCannot("addresses change", step.position)
    }
}
