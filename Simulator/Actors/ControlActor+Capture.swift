internal import FabricControl
internal import FabricCore
internal import FabricDocument
internal import FabricScenario
internal import FabricWire

/// A control plane in foreign hands: for a while it answers what some nodes ask for updates. It has the keys of the vault, so
/// that what it sends is signed as snapshots are; it has no approver's key and no node's.
final class ControlCapture {
    let sends: CapturedAnswer
    let nodes: [NodeID]
    let end: Instant
    let isRequired: Bool
    var answers = 0

    init(_ sends: CapturedAnswer, _ nodes: [NodeID], isRequired: Bool, end: Instant) {
        self.isRequired = isRequired
        self.sends = sends
        self.nodes = nodes
        self.end = end
    }
}

/// The oldest of what the control plane has sent.
struct ControlPast {
    /// Looked up by key only, both.
    private(set) var snapshots: [NodeID: SignedEnvelope] = [:]
    private(set) var firstRecords: [NodeID: SignedEnvelope] = [:]

    /// Looks at an answer that leaves.
    mutating func keep(_ reply: HTTPReply, path: String, for peer: CertificateFacts?) {
        guard path == ControlActor.updatesPath, reply.isSuccess, let node = ControlActor.node(of: peer),
            let updates = try? JSON.decode(ControlAPI.Updates.self, from: reply.body)
        else { return }
        if let snapshot = updates.snapshot, snapshots[node] == nil { snapshots[node] = snapshot }
        for envelope in updates.records {
            guard let record = try? envelope.unverified(PeerRecord.self), firstRecords[record.node] == nil else {
                continue
            }
            firstRecords[record.node] = envelope
        }
    }
}

extension ControlActor {
    static let updatesPath = "/v1/node/updates"
    /// Lies take so long, so that a node that asks again at once gets few of them.
    static let lieDelay = Duration.milliseconds(300)

    static func node(of peer: CertificateFacts?) -> NodeID? {
        peer.flatMap { FabricIdentifier.parseNode($0.spiffeID)?.node }
    }

    /// From now on these nodes get lies, those that wait for updates too.
    func capture(_ plan: PlannedCapture, _ nodes: [NodeID]) {
        captures.append(
            ControlCapture(plan.sends, nodes, isRequired: plan.isRequired, end: world.now + plan.duration))
        let now = world.now(of: host)
        for id in waiting.keys.sorted() {
            guard let entry = waiting[id], entry.path == Self.updatesPath, let connection = connections[entry.stream],
                let reply = lie(to: connection)
            else { continue }
            takeAway(id, now: now)
            send(reply, on: entry.stream, entry.number)
        }
    }

    /// True when the request has been answered with a lie.
    func lie(to connection: Connection, on stream: StreamID, _ number: UInt64, _ request: HTTPRequest) -> Bool {
        guard !captures.isEmpty, request.path == Self.updatesPath, let reply = lie(to: connection) else { return false }
        send(reply, on: stream, number)
        return true
    }

    private func send(_ reply: HTTPReply, on stream: StreamID, _ number: UInt64) {
        world.note(host, "a lie to \(world.streams.remote(stream).map { "\($0)" } ?? "nobody")")
        world.setTimer(host, after: Self.lieDelay, token: delay(reply, on: stream, number))
    }

    /// What could not be done as the file says: there was nothing to send.
    var idleCaptures: [String] {
        captures.filter { $0.isRequired && $0.answers == 0 && world.now >= $0.end }.map {
            "the control plane in foreign hands had no \($0.sends.rawValue) to send to anybody"
        }
    }

    private func lie(to connection: Connection) -> HTTPReply? {
        guard let node = Self.node(of: connection.peer),
            let capture = captures.last(where: { world.now < $0.end && $0.nodes.contains(node) }),
            let updates = try? updates(capture.sends, for: node)
        else { return nil }
        capture.answers += 1
        return HTTPReply(status: 200, contentType: HTTPReply.json, body: JSON.encodeOwn(updates))
    }

    // MARK: What is sent

    private func updates(_ sends: CapturedAnswer, for node: NodeID) throws -> ControlAPI.Updates? {
        var updates = ControlAPI.Updates(snapshot: nil, records: [], recordsVersion: 0, trust: nil)
        switch sends {
        case .oldSnapshot:
            guard let old = past?.snapshots[node], let current = try envelope(of: node), old != current else {
                return nil
            }
            updates.snapshot = old
        case .foreignSnapshot: updates.snapshot = try foreignSnapshot(for: node)
        case .stranger: updates.snapshot = try snapshotWithStranger(for: node)
        case .oldRecords:
            guard let peers = try snapshot(of: node)?.domains.flatMap(\.peers) else { return nil }
            updates.records = Set(peers).sorted().compactMap { past?.firstRecords[$0] }
        }
        return updates.snapshot == nil && updates.records.isEmpty ? nil : updates
    }

    private func envelope(of node: NodeID) throws -> SignedEnvelope? {
        try envelope("node_id = '\(node)'")
    }

    /// Of the first node that the condition names.
    private func envelope(_ condition: String) throws -> SignedEnvelope? {
        let sql = "SELECT envelope FROM snapshots WHERE envelope IS NOT NULL AND \(condition) ORDER BY node_id LIMIT 1"
        return try row(sql).map { try JSON.decode(SignedEnvelope.self, from: $0.blob("envelope")) }
    }

    private func snapshot(of node: NodeID) throws -> Snapshot? { try envelope(of: node)?.unverified(Snapshot.self) }

    private func row(_ sql: String) -> SQLRow? { query(sql)?.first }

    /// Signs as the control plane does, with a number that nothing has to follow from.
    private func signed(_ snapshot: Snapshot, after version: Int64) throws -> SignedEnvelope? {
        guard let salt = try row("SELECT key_salt FROM clusters")?.blob("key_salt") else { return nil }
        let keys = try ControlKeys(
            vault: vault, cryptography: services.cryptography, random: SeededRandom(seed: world.seed, stream: "unused"))
        var snapshot = snapshot
        snapshot.version = version + 2
        snapshot.previousHash = nil
        return try .sign(snapshot, seeds: [keys.snapshotSeed(salt: salt)], services.cryptography)
    }

    private func foreignSnapshot(for node: NodeID) throws -> SignedEnvelope? {
        guard let own = try snapshot(of: node),
            let other = try envelope("node_id <> '\(node)'")?.unverified(Snapshot.self)
        else { return nil }
        return try signed(other, after: own.version)
    }

    /// The node's own snapshot with a member that the control plane has admitted by itself, a peer in every domain.
    private func snapshotWithStranger(for node: NodeID) throws -> SignedEnvelope? {
        guard var snapshot = try snapshot(of: node),
            let salt = try row("SELECT key_salt FROM clusters")?.blob("key_salt")
        else { return nil }
        let random = SeededRandom(seed: world.seed, stream: "control/stranger")
        let keys = try ControlKeys(vault: vault, cryptography: services.cryptography, random: random)
        let identity = try services.cryptography.ed25519PublicKey(seed: random.bytes(32))
        let stranger = FabricIdentifier.nodeID(identityKey: identity, services.cryptography)
        let tunnelKeys = try snapshot.domains.map {
            TunnelKey(
                domain: $0.id,
                publicKey: Blob(try services.cryptography.x25519PublicKey(privateKey: random.bytes(32))))
        }
        let admission = Admission(
            cluster: snapshot.cluster, node: stranger, name: "stranger", identityKey: Blob(identity),
            tunnelKeys: tunnelKeys, approvedAt: snapshot.issuedAt)
        snapshot.members.append(
            try .sign(admission, seeds: [keys.snapshotSeed(salt: salt)], services.cryptography))
        for index in snapshot.domains.indices { snapshot.domains[index].peers.append(stranger) }
        return try signed(snapshot, after: snapshot.version)
    }
}
