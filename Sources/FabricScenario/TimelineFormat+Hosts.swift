internal import FabricCore
internal import FabricDocument

/// How a node goes down.
public enum CrashForm: String, NamedChoice {
    /// What was not synced is lost, and peers learn nothing.
    case power
    /// The process alone: the page cache survives, and connections are reset at once.
    case process
    public static let noun = "kind of crash"
}

/// `pause`, `suspend`: hosts that do nothing, for a while or until they are resumed.
struct HoldEntry: Decodable, Sendable {
    var nodes: Selector
    var duration: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes
        case duration = "for"
    }
}

struct SlowProcessorEntry: Decodable, Sendable {
    var nodes: Selector
    var perEvent: Located<Span>
    var perHandshake: Located<Span>?
    var perPacket: Located<Span>?
    var duration: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes
        case perEvent = "per-event"
        case perHandshake = "per-handshake"
        case perPacket = "per-packet"
        case duration = "for"
    }
}

/// A quantity, or the word for what is so when nothing is said.
struct Or<Value: Quantity, Word: OrdinaryWord>: Decodable, Sendable {
    /// Nil for the word.
    var value: Value?

    init(from decoder: any Decoder) throws {
        if let text = (decoder as? any DocumentSource)?.node.string, text == Word.text { return }
        value = try Value(from: decoder)
    }
}

protocol OrdinaryWord: Sendable {
    static var text: String { get }
}

enum Plenty: OrdinaryWord { static let text = "plenty" }
enum Usual: OrdinaryWord { static let text = "usual" }

struct DiskEntry: Decodable, Sendable {
    var nodes: Selector
    var room: Located<Or<ByteSize, Plenty>>?
    var readErrors: Ratio?
    var writeErrors: Ratio?
    var syncErrors: Ratio?
    var lostSyncs: Ratio?
    var tornWrites: Ratio?
    var bitRot: Ratio?
    var syncTime: Located<Or<Span, Usual>>?
    var duration: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes, room
        case readErrors = "read-errors"
        case writeErrors = "write-errors"
        case syncErrors = "sync-errors"
        case lostSyncs = "lost-syncs"
        case tornWrites = "torn-writes"
        case bitRot = "bit-rot"
        case syncTime = "sync-time"
        case duration = "for"
    }

    var settings: [DiskSetting] {
        var settings: [DiskSetting] = []
        if let room { settings.append(.room(room.value.value?.bytes)) }
        if let readErrors { settings.append(.readErrors(readErrors.partsPerMillion)) }
        if let writeErrors { settings.append(.writeErrors(writeErrors.partsPerMillion)) }
        if let syncErrors { settings.append(.syncErrors(syncErrors.partsPerMillion)) }
        if let lostSyncs { settings.append(.lostSyncs(lostSyncs.partsPerMillion)) }
        if let tornWrites { settings.append(.tornWrites(tornWrites.partsPerMillion)) }
        if let bitRot { settings.append(.bitRot(bitRot.partsPerMillion)) }
        if let syncTime { settings.append(.syncTime(syncTime.value.value?.duration)) }
        return settings
    }
}

struct BitRotEntry: Decodable, Sendable {
    var nodes: Selector
    var file: Located<String>?
    var bits: Located<Int>?

    enum CodingKeys: String, CodingKey, CaseIterable { case nodes, file, bits }
}

struct DatabaseEntry: Decodable, Sendable {
    var failures: Ratio?
    var unknownCommits: Ratio?
    var transactionTime: Located<Span>?
    var duration: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case failures
        case unknownCommits = "unknown-commits"
        case transactionTime = "transaction-time"
        case duration = "for"
    }

    var settings: [DatabaseSetting] {
        var settings: [DatabaseSetting] = []
        if let failures { settings.append(.failures(failures.partsPerMillion)) }
        if let unknownCommits { settings.append(.unknownCommits(unknownCommits.partsPerMillion)) }
        if let transactionTime { settings.append(.transactionTime(transactionTime.value.duration)) }
        return settings
    }
}

struct BackupEntry: Decodable, Sendable {
    var name: Located<String>

    enum CodingKeys: String, CodingKey, CaseIterable { case name }
}

struct CrashAtEntry: Decodable, Sendable {
    var nodes: Selector
    var boundary: Located<CrashBoundary>?
    var nth: Located<Int>?
    var kind: CrashForm?
    var within: Located<Span>?
    var duration: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes, boundary, nth, kind, within
        case duration = "for"
    }
}

/// The rate error of a clock: `50ppm`, `-200ppm`; positive is fast.
public struct ClockDrift: Quantity {
    public static let expectation = "a drift such as 50ppm or -200ppm"
    public static let usualUnit = "ppm"
    /// Ten per cent either way.
    static let maximum: Int64 = 100_000_000

    public var partsPerBillion: Int64

    public init?(_ text: String) {
        var rest = Substring(text)
        let sign: Int64 = rest.first == "-" ? -1 : 1
        if rest.first == "-" || rest.first == "+" { rest.removeFirst() }
        guard let (decimal, unit) = Decimal.take(&rest), rest.isEmpty, unit == "ppm",
            let value = decimal.times(1_000), value <= ClockDrift.maximum
        else { return nil }
        partsPerBillion = sign * value
    }

    public init(partsPerBillion: Int64) { self.partsPerBillion = partsPerBillion }

    public var description: String {
        let magnitude = partsPerBillion.magnitude
        var text = "\(partsPerBillion < 0 ? "-" : "")\(magnitude / 1_000)"
        if magnitude % 1_000 != 0 {
            var digits = String(magnitude % 1_000 + 1_000).dropFirst()
            while digits.last == "0" { digits.removeLast() }
            text += "." + digits
        }
        return text + "ppm"
    }
}

/// The steps of the timeline that befall hosts.
enum HostFaultEntry: Sendable {
    case pause(HoldEntry)
    case suspend(HoldEntry)
    case resume(NodesEntry)
    case slowProcessor(SlowProcessorEntry)
    case disk(DiskEntry)
    case bitRot(BitRotEntry)
    case database(DatabaseEntry)
    case backUp(BackupEntry)
    case restore(BackupEntry)
    case crashAt(CrashAtEntry)
    case dnsLies(DNSLiesEntry)
}
