internal import FabricCore
internal import FabricDocument
internal import FabricTunnel

/// Keys and time stamps are durable before they are used: otherwise a power cut makes the host a stranger to its own
/// request, or makes its handshakes go back in time.
struct DurableBeforeSent {
    /// Stamps that would repeat are told apart by small steps.
    static let slack = Duration.seconds(1)

    /// The floor that was durable when last read.
    private var floor: WallTime?
    /// The last write of the floors has failed, as on a full disk.
    private var couldNotWrite = false

    mutating func booted() {
        floor = nil
        couldNotWrite = false
    }

    mutating func wroteFloors(failed: Bool) { couldNotWrite = failed }

    /// The node, whose wall clock shows `now`, has sent a handshake with this stamp.
    mutating func sentHandshake(_ stamp: TAI64N, at now: WallTime, in store: VirtualStateStore) -> String? {
        if let floor, stamp < TAI64N(floor) { return nil }
        // It may have been raised since.
        return sentHandshake(stamp, at: now, floors: store.load("floors.json"))
    }

    /// The same, with the durable file at hand.
    mutating func sentHandshake(_ stamp: TAI64N, at now: WallTime, floors: [UInt8]?) -> String? {
        guard let state = StateFiles.read(StateFiles.Floors.self, floors) else {
            floor = nil
            return "a handshake leaves before a floor of its time stamps is durable"
        }
        let durable = WallTime(nanoseconds: state.handshakeNanoseconds)
        floor = durable
        if stamp < TAI64N(durable) { return nil }
        // A node that can't write goes on above its floor, as far as the clock has since the floor was written.
        if couldNotWrite, let reservedAt = state.reservedAtNanoseconds, now.nanoseconds >= reservedAt {
            let allowed = durable + .nanoseconds(now.nanoseconds - reservedAt) + Self.slack
            if stamp <= TAI64N(allowed) { return nil }
        }
        return "a handshake's time stamp is past the durable floor \(durable)"
    }

    /// The node asks to join as this node; `durable` is the one whose keys are on its disk.
    static func askedToJoin(as node: String, durable: String?) -> String? {
        guard let durable else { return "a join request leaves before the node's keys are durable" }
        return durable == node ? nil : "a join request leaves under other keys than the durable ones"
    }

    static func durableSeed(_ store: VirtualStateStore) -> [UInt8]? {
        StateFiles.read(StateFiles.Identity.self, store.load("identity.json"))?.identitySeed.bytes
    }
}

/// What the rules read of a node's state files: JSON behind a line with its checksum.
enum StateFiles {
    struct Floors: Decodable {
        var wallNanoseconds: Int64
        var handshakeNanoseconds: Int64
        var recordSequence: Int64
        var reservedAtNanoseconds: Int64?
    }

    struct Identity: Decodable {
        var identitySeed: Blob
        var tunnelKeys: [Key]

        struct Key: Decodable {
            var domain: RoutingDomainID
            var privateKey: Blob
        }
    }

    static func read<State: Decodable>(_ type: State.Type, _ file: [UInt8]?) -> State? {
        guard let file, let end = file.firstIndex(of: 10) else { return nil }
        return try? JSON.decode(type, from: Array(file[(end + 1)...]))
    }
}
