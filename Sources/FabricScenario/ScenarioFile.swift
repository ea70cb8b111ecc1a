internal import FabricCore
public import FabricDocument

/// A scenario file as it was written: decoded, units read, names not yet resolved. `plan()` does that.
public struct ScenarioFile: Sendable {
    /// The name that errors give the file.
    public var file: String
    /// The tree that was read: what draws and cuts work on.
    public let document: DocumentNode
    var header: ScenarioHeader

    /// Reads YAML. Hosts compare a file's size with `ScenarioLimits.maximumFileBytes` before they read it;
    /// `refusal(ofFile:bytes:)` is the error to show.
    public init(yaml bytes: [UInt8], file: String) throws(ScenarioError) {
        self.file = file
        if let refusal = Self.refusal(ofFile: file, bytes: Int64(bytes.count)) { throw refusal }
        do throws(DocumentError) {
            document = try YAMLDocument.parse(bytes)
            header = try DocumentDecoder().decode(ScenarioHeader.self, from: document)
        } catch {
            throw ScenarioError(file: file, problems: [error])
        }
    }

    /// A file from a tree that a program made.
    public init(document: DocumentNode, file: String) throws(ScenarioError) {
        self.file = file
        self.document = document
        do throws(DocumentError) {
            header = try DocumentDecoder().decode(ScenarioHeader.self, from: document)
        } catch {
            throw ScenarioError(file: file, problems: [error])
        }
    }

    /// Reads, resolves and checks a file in one step.
    public static func plan(yaml bytes: [UInt8], file: String) throws(ScenarioError) -> Plan {
        try ScenarioFile(yaml: bytes, file: file).plan()
    }

    /// Nil when a file of this size may be read.
    public static func refusal(ofFile file: String, bytes: Int64) -> ScenarioError? {
        if bytes <= ScenarioLimits.maximumFileBytes { return nil }
        let problem = DocumentError(
            "the file has \(bytes) bytes; a scenario has at most \(ScenarioLimits.maximumFileBytes)")
        return ScenarioError(file: file, problems: [problem])
    }

    /// Resolves names, expands repetition, and checks that the file makes sense. All problems are reported at once.
    public func plan() throws(ScenarioError) -> Plan {
        var planner = Planner(header)
        let plan = planner.makePlan()
        if !planner.problems.isEmpty {
            let sorted = planner.problems.enumerated().sorted {
                ($0.element.line ?? 0, $0.element.column ?? 0, $0.offset)
                    < ($1.element.line ?? 0, $1.element.column ?? 0, $1.offset)
            }
            throw ScenarioError(
                file: file, problems: sorted.prefix(ScenarioLimits.maximumProblems).map(\.element))
        }
        return plan
    }
}

/// The whole file. The declarations from here on are the format; `docs/scenarios.md` explains it to people.
struct ScenarioHeader: Decodable, Sendable {
    var scenario: Located<String>
    var about: String?
    var duration: Located<Span>
    var seed: Located<Int64>?
    var hosts: Located<[ScenarioHost]>?
    var world: WorldSection
    var timeline: [Located<StepEntry>]?
    var expect: [Located<ExpectationEntry>]
    var swarm: Located<SwarmSection>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case scenario, about, duration, seed, hosts, world, timeline, expect, swarm
    }
}

struct WorldSection: Decodable, Sendable {
    var places: Located<PlaceList>
    var link: Located<LinkEntry>?
    var links: [Located<LinkBetween>]?
    var control: Located<ControlEntry>?
    var cluster: Located<ClusterEntry>?
    var nodes: Located<[Located<GroupEntry>]>
    var nats: [Located<NATEntry>]?

    enum CodingKeys: String, CodingKey, CaseIterable { case places, link, links, control, cluster, nodes, nats }
}

/// Places by name: a list of names, or an object whose values say how the network inside each is.
struct PlaceList: Decodable, Sendable {
    var entries: [NamedList<LinkEntry>.Entry] = []

    init(from decoder: any Decoder) throws {
        if let source = decoder as? any DocumentSource, source.node.array != nil {
            for name in try [Located<String>](from: decoder) {
                entries.append(.init(name: name.value, position: name.position, value: LinkEntry()))
            }
        } else {
            entries = try NamedList<LinkEntry>(from: decoder).entries
        }
    }
}

/// Properties of the network between or within places. What is absent comes from the default.
struct LinkEntry: Decodable, Sendable {
    var delay: Span?
    var jitter: Span?
    var shape: JitterShape?
    var loss: Ratio?
    var bursts: BurstsEntry?
    var duplicate: Ratio?
    var reorder: Ratio?
    var reorderBy: Span?
    var corrupt: Ratio?
    var rate: OrNone<BitRate>?
    var queue: ByteSize?
    var mtu: ByteSize?
    var blackHole: OrNone<ByteSize>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case delay, jitter, shape, loss, bursts, duplicate, reorder
        case reorderBy = "reorder-by"
        case corrupt, rate, queue, mtu
        case blackHole = "black-hole"
    }

    init() {}

    init(from decoder: any Decoder) throws {
        if try decoder.singleValueContainer().decodeNil() {
            self.init()
        } else {
            try self.init(from: decoder.container(keyedBy: CodingKeys.self))
        }
    }

    /// From an object that has other keys too.
    init(from container: KeyedDecodingContainer<CodingKeys>) throws {
        delay = try container.decodeIfPresent(Span.self, forKey: .delay)
        jitter = try container.decodeIfPresent(Span.self, forKey: .jitter)
        shape = try container.decodeIfPresent(JitterShape.self, forKey: .shape)
        loss = try container.decodeIfPresent(Ratio.self, forKey: .loss)
        bursts = try container.decodeIfPresent(BurstsEntry.self, forKey: .bursts)
        duplicate = try container.decodeIfPresent(Ratio.self, forKey: .duplicate)
        reorder = try container.decodeIfPresent(Ratio.self, forKey: .reorder)
        reorderBy = try container.decodeIfPresent(Span.self, forKey: .reorderBy)
        corrupt = try container.decodeIfPresent(Ratio.self, forKey: .corrupt)
        rate = try container.decodeIfPresent(OrNone<BitRate>.self, forKey: .rate)
        queue = try container.decodeIfPresent(ByteSize.self, forKey: .queue)
        mtu = try container.decodeIfPresent(ByteSize.self, forKey: .mtu)
        blackHole = try container.decodeIfPresent(OrNone<ByteSize>.self, forKey: .blackHole)
    }

    var isEmpty: Bool {
        delay == nil && jitter == nil && shape == nil && loss == nil && bursts == nil && duplicate == nil
            && reorder == nil && reorderBy == nil && corrupt == nil && rate == nil && queue == nil && mtu == nil
            && blackHole == nil
    }
}

/// The link between two places where it differs from the default.
struct LinkBetween: Decodable, Sendable {
    var between: Located<[String]>
    var link: LinkEntry

    enum CodingKeys: String, CodingKey, CaseIterable { case between }

    init(from decoder: any Decoder) throws {
        between = try decoder.container(keyedBy: CodingKeys.self).decode(Located<[String]>.self, forKey: .between)
        link = try LinkEntry(from: decoder.container(keyedBy: LinkEntry.CodingKeys.self))
    }
}

struct ControlEntry: Decodable, Sendable {
    var place: Located<String>?
    var name: Located<String>?
    var answersLive: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case place, name
        case answersLive = "answers-live"
    }
}

struct ClusterEntry: Decodable, Sendable {
    var name: Located<String>?
    var peers: Located<Int>?
    var heartbeat: Located<Span>?
    var probe: Located<Span>?
    var certificateLifetime: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case name, peers, heartbeat, probe
        case certificateLifetime = "certificate-lifetime"
    }
}

struct GroupEntry: Decodable, Sendable {
    var group: Located<String>
    var place: Located<String>?
    var places: Located<[String]>?
    var count: Located<Int>?
    var domains: Located<[String]>?
    var clock: Located<ClockSetting>?

    enum CodingKeys: String, CodingKey, CaseIterable { case group, place, places, count, domains, clock }
}

struct ClockSetting: Decodable, Sendable {
    var skew: Span?
    var drift: ClockDrift?

    enum CodingKeys: String, CodingKey, CaseIterable { case skew, drift }
}
