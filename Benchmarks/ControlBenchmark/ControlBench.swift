// A control plane with an active cluster and a join token, and the requests that hosts and the operator send it.

import FabricControl
import FabricCore
import FabricCrypto
import FabricDocument
import FabricIdentity
import FabricOperator
import FabricStoreSQLite
import FabricWire

struct BenchError: Error, CustomStringConvertible {
    var description: String
}

/// One host's private keys.
struct JoiningHost {
    let name: String
    let seed: [UInt8]
    let tunnelKeys: [(domain: RoutingDomainID, key: [UInt8])]
    var request: JoinRequestID?
}

/// The four requests of an enrolment.
enum Step: String, CaseIterable {
    case enrol = "POST enrolments"
    case prove = "POST proof"
    case approve = "POST approval"
    case status = "GET status"
}

final class ControlBench {
    let cryptography = SystemCryptography()
    let certificates = X509Identity()
    let random = SeededRandom(seed: 1, stream: "bench")
    let store: RecordingStore
    let plane: ControlPlane
    let person: Operator
    let calls = OperatorCalls(bearer: "bench")
    var cluster: OperatorCluster
    let token: JoinToken
    let now = Now(monotonic: Instant(nanoseconds: 5_000_000_000), wall: WallTime(seconds: 1_800_000_000))
    let domains = [RoutingDomainID.fabric, RoutingDomainID("blue")!]
    private var hostsMade = 0

    init(_ base: any Store) throws {
        store = RecordingStore(base)
        store.isRecording = true
        let vault = MemoryKeyVault()
        let identity = try ControlIdentity(
            vault: vault, certificates: certificates, cryptography: cryptography, random: random,
            dnsNames: ["localhost"], now: now.wall)
        plane = try ControlPlane(
            ControlEnvironment(
                store: store, vault: vault, certificates: certificates, cryptography: cryptography, random: random,
                controlPin: identity.pin),
            settings: ControlSettings(adminTokenHash: cryptography.sha256(Array("bench".utf8))))
        try plane.prepare(now: now.wall)
        person = Operator(certificates: certificates, cryptography: cryptography)
        cluster = try person.makeCluster(ClusterID("bench")!, random: random, now: now.wall)
        let keys = try Self.ask(
            plane, calls.create(person.newCluster(cluster, name: "Bench", peerDegree: 4)), now)
        let trust = try person.signTrust(keys, for: &cluster, random: random, now: now.wall)
        let view = try Self.ask(plane, calls.setTrust(trust, of: cluster.cluster), now)
        let made = try person.makeToken(
            name: "bench", maximumUses: 100_000, lifetime: .seconds(3600),
            scope: .init(domains: domains, namePrefix: ""), for: view, of: cluster, random: random)
        _ = try Self.ask(plane, calls.create(made.body, in: cluster.cluster), now)
        token = made.token
        store.isRecording = false
    }

    private static func ask<Answer>(_ plane: ControlPlane, _ call: OperatorCall<Answer>, _ now: Now) throws -> Answer {
        try call.decode(try reply(plane, call.request, now))
    }

    private static func reply(_ plane: ControlPlane, _ request: HTTPRequest, _ now: Now) throws -> HTTPReply {
        guard case .reply(let reply) = plane.handle(request: ControlRequest(request), now: now).outcome else {
            throw BenchError(description: "\(request.path) was parked")
        }
        guard reply.isSuccess else {
            throw BenchError(description: "\(request.path): \(String(decoding: reply.body, as: UTF8.self))")
        }
        return reply
    }

    func reply(_ request: HTTPRequest) throws -> HTTPReply { try Self.reply(plane, request, now) }

    // MARK: Requests

    func makeHosts(_ count: Int) -> [JoiningHost] {
        (0..<count).map { _ in
            hostsMade += 1
            return JoiningHost(
                name: "host-\(hostsMade)", seed: random.bytes(32), tunnelKeys: domains.map { ($0, random.bytes(32)) })
        }
    }

    func requests(_ step: Step, _ hosts: [JoiningHost]) throws -> [HTTPRequest] {
        try hosts.map { host in
            switch step {
            case .enrol:
                HTTPRequest(
                    .post, "/v1/enrolments", bearer: token.bearer, body: JSON.encodeOwn(try enrolment(of: host)))
            case .prove:
                HTTPRequest(
                    .post, "/v1/enrolments/\(host.request!)/proof", bearer: token.bearer,
                    body: JSON.encodeOwn(try proof(of: host)))
            case .approve: calls.approve(host.request!, in: cluster.cluster, try approval(of: host)).request
            case .status: HTTPRequest(.get, "/v1/enrolments/\(host.request!)", bearer: token.bearer)
            }
        }
    }

    func enrolment(of host: JoiningHost) throws -> ControlAPI.NewEnrolment {
        let key = try cryptography.ed25519PublicKey(seed: host.seed)
        let node = FabricIdentifier.nodeID(identityKey: key, cryptography)
        return ControlAPI.NewEnrolment(
            name: host.name,
            certificateRequest: Blob(
                try certificates.makeRequest(
                    seed: host.seed, spiffeID: FabricIdentifier.node(node, in: cluster.cluster))),
            tunnelKeys: try host.tunnelKeys.map {
                TunnelKey(domain: $0.domain, publicKey: Blob(try cryptography.x25519PublicKey(privateKey: $0.key)))
            },
            facts: NodeFacts(os: "Debian 12", architecture: "x86-64", version: "0.1"),
            capabilities: ["can_route_mesh"], requestedRoles: ["relay-node"])
    }

    /// Asks for the challenge once more, which changes nothing: enrolment is idempotent.
    private func proof(of host: JoiningHost) throws -> ControlAPI.Proof {
        let again = try requests(.enrol, [host])[0]
        let challenge = try JSON.decode(ControlAPI.Challenge.self, from: try reply(again).body)
        return ControlAPI.Proof(
            proofs: try host.tunnelKeys.map { entry in
                let secret = try cryptography.x25519(
                    privateKey: entry.key, publicKey: challenge.challengeKey.bytes)
                let message = ControlAPI.Proof.message(
                    request: challenge.request, domain: entry.domain,
                    publicKey: try cryptography.x25519PublicKey(privateKey: entry.key))
                return ControlAPI.Proof.DomainProof(
                    domain: entry.domain, mac: Blob(cryptography.hmacSHA256(key: secret, message)))
            })
    }

    private func approval(of host: JoiningHost) throws -> ControlAPI.Approval {
        let call = calls.joinRequest(host.request!, in: cluster.cluster)
        return try person.approve(try call.decode(try reply(call.request)), in: cluster, now: now.wall)
    }

    /// Takes hosts through one step. Returns the time that the control plane took, and its replies.
    func run(_ step: Step, _ hosts: inout [JoiningHost], _ clock: Clock) throws -> (
        nanoseconds: Double, requests: [HTTPRequest], replies: [HTTPReply]
    ) {
        let requests = try requests(step, hosts)
        var replies: [HTTPReply] = []
        replies.reserveCapacity(requests.count)
        let spent = try clock.measure {
            for request in requests { replies.append(try reply(request)) }
        }
        if step == .enrol { try note(replies, in: &hosts) }
        if step == .status {
            for reply in replies {
                let status = try JSON.decode(ControlAPI.EnrolmentStatus.self, from: reply.body)
                guard status.grant != nil else { throw BenchError(description: "a host was not admitted") }
            }
        }
        return (spent, requests, replies)
    }

    /// Keeps the join requests that the replies to `Step.enrol` name.
    func note(_ replies: [HTTPReply], in hosts: inout [JoiningHost]) throws {
        for index in hosts.indices {
            hosts[index].request = try JSON.decode(ControlAPI.Challenge.self, from: replies[index].body).request
        }
    }
}
