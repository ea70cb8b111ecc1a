internal import FabricCore

/// One translator: its table of mappings and who may come in by them.
///
/// ```
///   inner endpoint ──▶ mapping ──▶ outer port        keyed by the inner endpoint, and by as much of the remote one as
///                                                    the mapping behaviour says
///   inner endpoint ──▶ permissions: remote           kept by inner endpoint, not by mapping: RFC 4787 asks whether the
///                                                    *inner endpoint* has sent there
/// ```
///
/// What has outlived its time is as good as gone, and is removed when room is needed.
struct NATBox {
    static let firstPort: UInt16 = 1024
    /// RFC 5382 REQ-5: of connections that are not, or no longer, established.
    static let transitoryLifetime: Int64 = 240_000_000_000

    struct Key: Hashable {
        var transport: TransportProtocol
        var inner: Endpoint
        /// The unspecified address and port 0 where the behaviour does not look at them.
        var remote: Endpoint
    }

    private struct Mapping {
        var port: UInt16
        var expires: Int64
        var isEstablished: Bool
    }

    /// What becomes of a packet.
    enum Outcome: Hashable {
        /// It goes on with this source (outwards) or destination (inwards).
        case translated(Endpoint, isNew: Bool)
        case dropped
    }

    let name: String
    let behaviour: NATBehaviour
    private(set) var address: IPAddress
    var counters = NATCounters()
    private let random: SeededRandom
    private let udpLifetime: Int64
    private let tcpLifetime: Int64
    private var mappings: [Key: Mapping] = [:]
    /// The owner of each outer port, by protocol and port.
    private var ports: [UInt32: Key] = [:]
    /// When each runs out.
    private var permissions: [Key: Int64] = [:]
    private var nextPort = firstPort
    /// Nothing runs out before these; they spare a full table a walk for each packet that finds it full.
    private var mappingsFullUntil: Int64 = .min
    private var permissionsFullUntil: Int64 = .min

    init(name: String, behaviour: NATBehaviour, address: IPAddress, random: SeededRandom) {
        precondition((1...NATBehaviour.maximumTable).contains(behaviour.table))
        self.name = name
        self.behaviour = behaviour
        self.address = address
        self.random = random
        udpLifetime = max(1, behaviour.udpLifetime.nanoseconds)
        tcpLifetime = max(1, behaviour.tcpLifetime.nanoseconds)
    }

    /// Forgets everything, and has another address when one is given.
    mutating func rebind(to newAddress: IPAddress?) {
        mappings.removeAll()
        ports.removeAll()
        permissions.removeAll()
        mappingsFullUntil = .min
        permissionsFullUntil = .min
        if let newAddress { address = newAddress }
    }

    /// Mappings in force.
    func mappingCount(at now: Int64) -> Int {
        // unordered: counting
        mappings.values.count { $0.expires > now }
    }

    // MARK: Outwards

    /// A packet of `inner` to `remote` leaves. `opens`: it is one that may make a TCP mapping, a SYN; any datagram may.
    mutating func outbound(
        _ transport: TransportProtocol, _ inner: Endpoint, _ remote: Endpoint, opens: Bool, at now: Int64
    ) -> Outcome {
        let key = key(transport, inner, remote, transport == .tcp ? .addressAndPortDependent : behaviour.mapping)
        var mapping: Mapping
        var isNew = false
        if let known = mappings[key], known.expires > now {
            mapping = known
        } else {
            guard opens else {
                counters.unknownConnection &+= 1
                return .dropped
            }
            forget(key)
            guard makeRoomForMapping(at: now), let port = takePort(transport, preferring: inner.port, at: now) else {
                counters.tableFull &+= 1
                return .dropped
            }
            mapping = Mapping(port: port, expires: now, isEstablished: false)
            ports[portKey(transport, port)] = key
            isNew = true
            counters.mapped &+= 1
        }
        mapping.expires = max(mapping.expires, now + lifetime(transport, mapping))
        mappings[key] = mapping
        if transport == .udp, behaviour.filtering != .endpointIndependent {
            let permission = self.key(transport, inner, remote, behaviour.filtering)
            guard permissions[permission] != nil || makeRoomForPermission(at: now) else {
                counters.tableFull &+= 1
                return .dropped
            }
            permissions[permission] = now + udpLifetime
        }
        return .translated(Endpoint(address: address, port: mapping.port), isNew: isNew)
    }

    // MARK: Inwards

    /// The inner endpoint that a packet to an outer port would go to, whoever sent it. Changes nothing.
    func inner(_ transport: TransportProtocol, port: UInt16, at now: Int64) -> Endpoint? {
        guard let key = ports[portKey(transport, port)], let mapping = mappings[key], mapping.expires > now else {
            return nil
        }
        return key.inner
    }

    /// A packet from `remote` comes to an outer port.
    mutating func inbound(_ transport: TransportProtocol, port: UInt16, from remote: Endpoint, at now: Int64) -> Outcome
    {
        guard let key = ports[portKey(transport, port)], var mapping = mappings[key], mapping.expires > now else {
            counters.unmapped &+= 1
            return .dropped
        }
        switch transport {
        case .tcp:
            guard key.remote == remote else {
                counters.filtered &+= 1
                return .dropped
            }
            mapping.isEstablished = true
            mapping.expires = max(mapping.expires, now + lifetime(.tcp, mapping))
            mappings[key] = mapping
        case .udp:
            let permission = self.key(.udp, key.inner, remote, behaviour.filtering)
            if behaviour.filtering != .endpointIndependent {
                guard let expires = permissions[permission], expires > now else {
                    counters.filtered &+= 1
                    return .dropped
                }
                if behaviour.inboundRefresh { permissions[permission] = now + udpLifetime }
            }
            if behaviour.inboundRefresh {
                mapping.expires = now + udpLifetime
                mappings[key] = mapping
            }
        }
        return .translated(key.inner, isNew: false)
    }

    // MARK: The tables

    private func key(
        _ transport: TransportProtocol, _ inner: Endpoint, _ remote: Endpoint, _ dependence: NATBehaviour.Dependence
    ) -> Key {
        switch dependence {
        case .endpointIndependent:
            Key(transport: transport, inner: inner, remote: Endpoint(address: IPAddress(v4: 0), port: 0))
        case .addressDependent:
            Key(transport: transport, inner: inner, remote: Endpoint(address: remote.address, port: 0))
        case .addressAndPortDependent: Key(transport: transport, inner: inner, remote: remote)
        }
    }

    private func portKey(_ transport: TransportProtocol, _ port: UInt16) -> UInt32 {
        UInt32(transport.rawValue) << 16 | UInt32(port)
    }

    private func lifetime(_ transport: TransportProtocol, _ mapping: Mapping) -> Int64 {
        switch transport {
        case .udp: udpLifetime
        case .tcp: mapping.isEstablished ? tcpLifetime : min(tcpLifetime, NATBox.transitoryLifetime)
        }
    }

    private mutating func forget(_ key: Key) {
        if let mapping = mappings.removeValue(forKey: key) { ports[portKey(key.transport, mapping.port)] = nil }
    }

    private mutating func makeRoomForMapping(at now: Int64) -> Bool {
        if mappings.count < behaviour.table { return true }
        if now < mappingsFullUntil { return false }
        var earliest = Int64.max
        var stale: [Key] = []
        // unordered: what is stale goes, in whatever order
        for (key, mapping) in mappings {
            if mapping.expires <= now { stale.append(key) } else { earliest = min(earliest, mapping.expires) }
        }
        for key in stale { forget(key) }
        mappingsFullUntil = earliest
        return mappings.count < behaviour.table
    }

    private mutating func makeRoomForPermission(at now: Int64) -> Bool {
        if permissions.count < behaviour.table { return true }
        if now < permissionsFullUntil { return false }
        var earliest = Int64.max
        // unordered: what is stale goes, in whatever order
        for (key, expires) in permissions {
            if expires <= now { permissions[key] = nil } else { earliest = min(earliest, expires) }
        }
        permissionsFullUntil = earliest
        return permissions.count < behaviour.table
    }

    private mutating func takePort(_ transport: TransportProtocol, preferring wanted: UInt16, at now: Int64) -> UInt16?
    {
        func isFree(_ port: UInt16) -> Bool {
            guard let owner = ports[portKey(transport, port)] else { return true }
            return mappings[owner].map { $0.expires <= now } ?? true
        }
        var port: UInt16
        switch behaviour.ports {
        case .preserving: port = wanted
        case .random: port = NATBox.firstPort + UInt16(random.below(UInt64(UInt16.max - NATBox.firstPort) + 1))
        case .contiguous: port = nextPort
        }
        // From there upwards and around: there are more ports than a table has room for.
        for _ in NATBox.firstPort...UInt16.max {
            if isFree(port) {
                if let owner = ports[portKey(transport, port)] { forget(owner) }
                nextPort = port == .max ? NATBox.firstPort : port + 1
                return port
            }
            port = port < NATBox.firstPort || port == .max ? NATBox.firstPort : port + 1
        }
        return nil
    }
}
