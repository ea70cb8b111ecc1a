public import FabricCore
internal import FabricCrypto
internal import FabricDocument
internal import FabricIdentity
internal import FabricLinux
public import FabricOperator
public import FabricWire
public import Logging

/// An operator at work: his context file, the clusters' keys beside it, and a connection to the control plane.
///
/// Blocking, for programs that do one thing and end.
public final class OperatorSession {
    /// For one call and its answer.
    public static let timeout = Duration.seconds(20)
    /// Each call may be repeated when its answer was lost.
    static let attempts = 3
    /// Of one address when a name has more.
    static let connectTimeoutOfSeveral = Duration.seconds(3)

    public let context: OperatorContext
    public let calls: OperatorCalls
    public let `operator`: Operator
    private let directory: String
    private let network = HTTPLoop()
    private let client: HTTPSClient
    /// Where the control plane may be; nobody there is believed without its certificate.
    private var endpoints: ArraySlice<Endpoint>
    private let random = KernelRandom()

    public init(contextFile: String, logger: Logger) throws {
        context = try OperatorContext.load(contextFile)
        directory = contextFile.lastIndex(of: "/").map { String(contextFile[..<$0]) } ?? "."
        calls = OperatorCalls(bearer: context.adminToken)
        `operator` = Operator(certificates: X509Identity(), cryptography: SystemCryptography())
        var found = try Self.endpoints(of: context.endpoint)[...]
        var limits = HTTPClientLimits()
        if found.count > 1 { limits.connectTimeout = Self.connectTimeoutOfSeveral }
        let first = found.removeFirst()
        endpoints = found
        client = try HTTPSClient(
            loop: network, endpoint: first,
            verifyServer: ControlClient.verifier(
                pin: context.controlPin.bytes, timeFloor: WallTime(nanoseconds: .min)),
            identity: nil, limits: limits, logger: logger)
    }

    private static func endpoints(of server: ServerAddress) throws -> [Endpoint] {
        switch server {
        case .address(let endpoint): return [endpoint]
        case .name(let name, let port):
            do {
                return try NameResolver.lookUp(name).get().addresses.map { Endpoint(address: $0, port: port) }
            } catch {
                throw OperatorSessionError(
                    "the control plane's name \(name) can't be looked up: \(error); --context names a file that may "
                        + "have its address instead")
            }
        }
    }

    deinit {
        client.shutdown {}
        network.shutdown()
    }

    public var now: WallTime { LinuxClock.now().wall }

    /// Makes a call; throws `OperatorCallError` for a refusal and `HTTPClientError` when there is no answer.
    public func perform<Answer>(_ call: OperatorCall<Answer>) throws -> Answer {
        var attempt = 1
        while true {
            do {
                return try call.decode(try client.perform(call.request, timeout: Self.timeout))
            } catch HTTPClientError.answerLost where attempt < Self.attempts {
                attempt += 1
            } catch let error as HTTPClientError where error.nothingWasSent && !endpoints.isEmpty {
                let next = endpoints.removeFirst()
                client.update(
                    endpoint: next,
                    connectTimeout: endpoints.isEmpty
                        ? HTTPClientLimits().connectTimeout : Self.connectTimeoutOfSeveral)
            }
        }
    }

    /// All items of a list, page after page.
    public func all<Item>(
        _ page: (PageQuery) -> OperatorCall<ControlAPI.Page<Item>>, after: String? = nil
    ) throws -> [Item] {
        var items: [Item] = []
        var query = PageQuery(after: after, limit: 500)
        while true {
            let answer = try perform(page(query))
            items += answer.items
            guard let next = answer.next else { return items }
            query.after = next
        }
    }
}

// MARK: Clusters' keys

extension OperatorSession {
    /// Where a cluster's keys stand.
    public func keyFile(_ cluster: ClusterID) -> String { "\(directory)/cluster-\(cluster).json" }

    public func loadCluster(_ cluster: ClusterID) throws -> OperatorCluster {
        guard let found = try findCluster(cluster) else {
            throw OperatorSessionError(
                "this operator has no keys of cluster “\(cluster)”: \(keyFile(cluster)) does not exist")
        }
        return found
    }

    private func findCluster(_ cluster: ClusterID) throws -> OperatorCluster? {
        guard let bytes = try SecretFile.read(keyFile(cluster)) else { return nil }
        let found: OperatorCluster
        do throws(DocumentError) {
            found = try JSON.decode(OperatorCluster.self, from: bytes)
        } catch {
            throw OperatorSessionError("\(keyFile(cluster)) does not hold a cluster's keys: \(error)")
        }
        guard found.cluster == cluster else {
            throw OperatorSessionError("\(keyFile(cluster)) holds the keys of cluster “\(found.cluster)”")
        }
        return found
    }

    private func save(_ cluster: OperatorCluster) throws {
        try SecretFile.write(keyFile(cluster.cluster), JSON.encodeOwn(cluster))
    }

    /// Makes a cluster from its keys to its first trust metadata. Keys are saved before the control plane hears of them,
    /// so a creation that was cut off is finished by asking again.
    public func createCluster(_ id: ClusterID, name: String, peerDegree: Int) throws -> ControlAPI.Cluster {
        let existing = try findCluster(id)
        var keys = try existing ?? `operator`.makeCluster(id, random: random, now: now)
        if existing == nil { try save(keys) }
        let answer: ControlAPI.ClusterKeys
        do {
            answer = try perform(calls.create(`operator`.newCluster(keys, name: name, peerDegree: peerDegree)))
        } catch let error as OperatorCallError {
            // Refused: keys that were made just now are of no use to anybody.
            if existing == nil, case .refused = error { try SecretFile.remove(keyFile(id)) }
            throw error
        }
        let view = try perform(calls.cluster(id))
        // Signing once more would put the first metadata in the place of later ones.
        if view.status == "active" { return view }
        let trust = try `operator`.signTrust(answer, for: &keys, random: random, now: now)
        try save(keys)
        return try perform(calls.setTrust(trust, of: id))
    }

    /// Draws a join token and registers it. The token's text is known here alone.
    public func createToken(
        in id: ClusterID, name: String, uses: Int, lifetime: Duration, scope: ControlAPI.TokenScope
    ) throws -> (token: JoinToken, view: ControlAPI.JoinTokenView) {
        let keys = try loadCluster(id)
        let (token, body) = try `operator`.makeToken(
            name: name, maximumUses: uses, lifetime: lifetime, scope: scope, for: perform(calls.cluster(id)), of: keys,
            random: random)
        return (token, try perform(calls.create(body, in: id)))
    }

    /// Signs the admission of the host behind a request, and sends it.
    public func approve(
        _ request: ControlAPI.JoinRequestView, in keys: OperatorCluster
    ) throws -> ControlAPI.JoinRequestView {
        let approval = try `operator`.approve(request, in: keys, now: now)
        return try perform(calls.approve(request.id, in: keys.cluster, approval))
    }

    /// The first event whose hash does not follow from the one before it; nil when the chain is whole.
    ///
    /// - Parameter previous: the hash before the first event; nil when it is not known.
    public func brokenLink(
        in events: [ControlAPI.AuditEvent], of cluster: ClusterID, previous: [UInt8]?
    ) -> ControlAPI.AuditEvent? {
        var previous = previous
        for event in events {
            if let previous,
                event.chainHash(previous: previous, cluster: cluster, `operator`.cryptography) != event.hash.bytes
            {
                return event
            }
            previous = event.hash.bytes
        }
        return nil
    }
}

public struct OperatorSessionError: Error, Hashable, Sendable, CustomStringConvertible {
    public var description: String
    init(_ description: String) { self.description = description }
}
