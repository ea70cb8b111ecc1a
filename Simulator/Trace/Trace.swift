public import FabricCore

/// What an entry of the trace tells of. The raw values are part of the hash: only ever append.
public enum TraceKind: UInt16, Sendable {
    case boot = 1
    case crash
    case wake
    case timer
    case datagramSent
    case datagramDropped
    case datagramDelivered
    case streamPacket
    case streamTimer
    case streamEvent
    case streamAction
    case persist
    case persisted
    case disk
    case clock
    case network
    case action
    case note
    case hold

    public var name: String { "\(self)" }
}

/// One entry of the trace, as kept when recording is on.
public struct TraceEntry: Hashable, Sendable {
    /// From 0, over all entries of the run, recorded or not.
    public var index: UInt64
    /// World time.
    public var time: Instant
    /// The host concerned; -1 for the world itself.
    public var host: Int32
    public var kind: TraceKind
    /// What the kind says, for example a length and a port.
    public var first: UInt64
    public var second: UInt64
    /// A label, where the kind has one.
    public var text: String
}

/// The hash after `index` entries.
public struct TraceCheckpoint: Hashable, Sendable {
    public var index: UInt64
    public var hash: TraceHash

    public init(index: UInt64, hash: TraceHash) {
        self.index = index
        self.hash = hash
    }
}

/// The rolling hash over everything that happens in a world, and on request the entries themselves.
///
/// Two runs are equal when their final hashes are. When not: their checkpoints bound the first differing entry, a second
/// pair of runs records that range, and `TraceComparison` names the entry.
public final class Trace {
    /// What is kept besides the hash.
    public struct Recording: Hashable, Sendable {
        /// A checkpoint after each so many entries; 0 for none.
        public var checkpointInterval: UInt64
        /// The indices of the entries to keep.
        public var entries: Range<UInt64>
        /// Of those, no more than the last so many are kept.
        public var maximumEntries: Int

        public init(checkpointInterval: UInt64 = 0, entries: Range<UInt64> = 0..<0, maximumEntries: Int = 1_000_000) {
            precondition(maximumEntries > 0)
            self.checkpointInterval = checkpointInterval
            self.entries = entries
            self.maximumEntries = maximumEntries
        }
    }

    private struct State {
        var hash = TraceHash()
        var count: UInt64 = 0
        /// A bit for each kind that has occurred.
        var kinds: UInt64 = 0
        /// The next index at which the slow path has something to do.
        var attention: UInt64
    }

    public let recording: Recording
    private let state: UnsafeMutablePointer<State>
    public private(set) var checkpoints: [TraceCheckpoint] = []
    /// Told of every entry; then the fast path is never taken.
    weak var journal: Journal? {
        didSet { state.pointee.attention = nextAttention(after: count) }
    }
    private var ring: [TraceEntry] = []
    private var ringStart = 0

    public init(_ recording: Recording = Recording()) {
        self.recording = recording
        state = .allocate(capacity: 1)
        state.initialize(to: State(attention: 0))
        state.pointee.attention = nextAttention(after: 0)
    }

    deinit { state.deallocate() }

    /// The hash over all entries so far.
    public var hash: TraceHash { state.pointee.hash }
    /// The number of entries so far.
    public var count: UInt64 { state.pointee.count }

    /// The kinds of entries that have occurred, in the order of their raw values.
    public var kinds: [TraceKind] {
        (0..<64).compactMap { bit in
            state.pointee.kinds >> UInt64(bit) & 1 == 0 ? nil : TraceKind(rawValue: UInt16(bit))
        }
    }

    /// The checkpoints, and the final hash as the last.
    public var allCheckpoints: [TraceCheckpoint] {
        let final = TraceCheckpoint(index: count, hash: hash)
        return checkpoints.last == final ? checkpoints : checkpoints + [final]
    }

    /// The entries kept, oldest first.
    public var entries: [TraceEntry] { Array(ring[ringStart...] + ring[..<ringStart]) }

    /// Adds an entry whose whole content is two words.
    @inline(__always)
    func record(_ kind: TraceKind, host: Int32, at time: Int64, _ first: UInt64 = 0, _ second: UInt64 = 0) {
        let state = state
        state.pointee.hash.absorb(UInt64(bitPattern: time))
        state.pointee.hash.absorb(UInt64(UInt32(bitPattern: host)) << 32 | UInt64(kind.rawValue))
        state.pointee.hash.absorb(first)
        state.pointee.hash.absorb(second)
        state.pointee.kinds |= 1 << UInt64(truncatingIfNeeded: kind.rawValue)
        let index = state.pointee.count
        state.pointee.count = index &+ 1
        if index >= state.pointee.attention { attend(index, kind, host, time, first, second, "") }
    }

    /// Adds an entry about some bytes; they enter by their digest.
    @inline(__always)
    func record(_ kind: TraceKind, host: Int32, at time: Int64, _ word: UInt64, bytes: UnsafeRawBufferPointer) {
        let digest = TraceHash.digest(bytes)
        record(kind, host: host, at: time, word &* 0x9E37_79B9_7F4A_7C15 ^ digest.0, digest.1)
    }

    /// Adds an entry with a label; the label is part of the hash.
    func record(_ kind: TraceKind, host: Int32, at time: Int64, _ word: UInt64, text: String) {
        var text = text
        let digest = text.withUTF8 { TraceHash.digest(UnsafeRawBufferPointer($0)) }
        state.pointee.hash.absorb(UInt64(bitPattern: time))
        state.pointee.hash.absorb(UInt64(UInt32(bitPattern: host)) << 32 | UInt64(kind.rawValue))
        state.pointee.hash.absorb(word)
        state.pointee.hash.absorb(digest.0 ^ digest.1)
        state.pointee.kinds |= 1 << UInt64(truncatingIfNeeded: kind.rawValue)
        let index = state.pointee.count
        state.pointee.count = index &+ 1
        if index >= state.pointee.attention { attend(index, kind, host, time, word, digest.0 ^ digest.1, text) }
    }

    /// The first index, not before `index`, at which an entry is kept or a checkpoint made.
    private func nextAttention(after index: UInt64) -> UInt64 {
        if journal != nil { return index }
        var next = UInt64.max
        if recording.checkpointInterval > 0 {
            next = index - index % recording.checkpointInterval + recording.checkpointInterval - 1
        }
        if index < recording.entries.upperBound, !recording.entries.isEmpty {
            next = min(next, max(index, recording.entries.lowerBound))
        }
        return next
    }

    private func attend(
        _ index: UInt64, _ kind: TraceKind, _ host: Int32, _ time: Int64, _ first: UInt64, _ second: UInt64,
        _ text: String
    ) {
        if recording.checkpointInterval > 0, (index + 1) % recording.checkpointInterval == 0 {
            checkpoints.append(TraceCheckpoint(index: index + 1, hash: hash))
        }
        if recording.entries.contains(index) {
            let entry = TraceEntry(
                index: index, time: Instant(nanoseconds: time), host: host, kind: kind, first: first, second: second,
                text: text)
            if ring.count < recording.maximumEntries {
                ring.append(entry)
            } else {
                ring[ringStart] = entry
                ringStart = (ringStart + 1) % ring.count
            }
        }
        state.pointee.attention = nextAttention(after: index + 1)
        journal?.traced(kind, Int(host), first, second, text)
    }
}
