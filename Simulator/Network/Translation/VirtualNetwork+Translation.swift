public import FabricCore

/// The translators of a world and who stands behind which.
///
/// ```
///   realm 0: the public network      hosts, and the outer addresses of translators that stand in no other's realm
///   realm i + 1: behind box i        hosts, and the outer addresses of the translators behind box i (carrier-grade)
/// ```
///
/// A packet looks for its destination in its own realm and, while it is not there, goes through that realm's translator into
/// the next one out. An address of another realm leads nowhere.
struct AddressTranslation {
    struct Box {
        var nat: NATBox
        /// The realm that its outer address is in.
        var outside: Int
        /// A host behind it: packets that nobody is mapped to take the way to this one. -1 while there is none.
        var representative = -1
    }

    var boxes: [Box] = []
    /// By host; hosts beyond its end are public.
    var realmOfHost: [Int32] = []
    /// The box that has an outer address. Looked up by key only.
    var owners: [IPAddress: Int] = [:]
    var publicAddresses: UInt32 = 0
    var carrierAddresses: UInt32 = 0

    func realm(of host: Int) -> Int { host < realmOfHost.count ? Int(realmOfHost[host]) : 0 }
}

extension VirtualNetwork {
    public static let maximumNATs = 20_000
    /// Translators behind translators.
    public static let maximumNATDepth = 8

    /// Where a packet goes that has left its sender and the translators in front of it.
    struct Departure {
        /// Its source, as it is seen there.
        var source: Endpoint
        /// The receiver, or a host behind the translator that the packet goes to: that one says on arrival whose it is.
        var to: Int
    }

    // MARK: Making

    /// Adds a translator, in front of nobody yet; its outer address is public, or lies behind `carrier`.
    public func addNAT(_ name: String, _ behaviour: NATBehaviour, behind carrier: NATID?) -> NATID {
        if translation == nil { translation = AddressTranslation() }
        let index = translation!.boxes.count
        precondition(index < VirtualNetwork.maximumNATs)
        let outside = carrier.map { $0.index + 1 } ?? 0
        var depth = 1
        var above = outside
        while above > 0 {
            depth += 1
            above = translation!.boxes[above - 1].outside
        }
        precondition(depth <= VirtualNetwork.maximumNATDepth, "translators are nested too deep")
        let address = newOuterAddress(outside)
        let random = SeededRandom(seed: world.seed, stream: "network/nat/\(name)")
        translation!.boxes.append(
            .init(nat: NATBox(name: name, behaviour: behaviour, address: address, random: random), outside: outside))
        translation!.owners[address] = index
        world.trace.record(.network, host: -1, at: world.nowNanoseconds, 6, text: "nat \(name) \(address)")
        return NATID(index: index)
    }

    /// From now on the host is behind the translator: its own addresses mean nothing outside.
    public func putBehind(_ nat: NATID, _ host: HostID) {
        precondition(translation != nil && nat.index < translation!.boxes.count)
        while translation!.realmOfHost.count <= host.index { translation!.realmOfHost.append(0) }
        translation!.realmOfHost[host.index] = Int32(nat.index + 1)
        var box = nat.index
        while box >= 0, translation!.boxes[box].representative < 0 {
            translation!.boxes[box].representative = host.index
            box = translation!.boxes[box].outside - 1
        }
        world.trace.record(.network, host: Int32(host.index), at: world.nowNanoseconds, 7, UInt64(nat.index))
    }

    /// The translator loses its table, as by a restart, and with `newAddress` its outer address too.
    public func rebind(_ nat: NATID, newAddress: Bool) {
        let old = translation!.boxes[nat.index].nat.address
        if newAddress {
            let address = newOuterAddress(translation!.boxes[nat.index].outside)
            translation!.owners[old] = nil
            translation!.owners[address] = nat.index
            translation!.boxes[nat.index].nat.rebind(to: address)
        } else {
            translation!.boxes[nat.index].nat.rebind(to: nil)
        }
        let box = translation!.boxes[nat.index].nat
        world.trace.record(
            .network, host: -1, at: world.nowNanoseconds, 8, text: "rebind \(box.name) \(old) \(box.address)")
    }

    public func natAddress(_ nat: NATID) -> IPAddress { translation!.boxes[nat.index].nat.address }
    public func natCounters(_ nat: NATID) -> NATCounters { translation!.boxes[nat.index].nat.counters }
    /// Mappings that have not run out.
    public func natMappings(_ nat: NATID) -> Int {
        translation!.boxes[nat.index].nat.mappingCount(at: world.nowNanoseconds)
    }

    /// 198.18.0.0/15 (RFC 2544) stands for public addresses, 100.64.0.0/10 (RFC 6598) for those inside a carrier. Both are
    /// larger than the number of translators, and are gone around.
    private func newOuterAddress(_ outside: Int) -> IPAddress {
        while true {
            let address: IPAddress
            if outside == 0 {
                address = IPAddress(v4: 198 << 24 | 18 << 16 | (1 + translation!.publicAddresses % 0x1_FFFE))
                translation!.publicAddresses &+= 1
            } else {
                address = IPAddress(v4: 100 << 24 | 64 << 16 | (1 + translation!.carrierAddresses % 0x3F_FFFE))
                translation!.carrierAddresses &+= 1
            }
            if translation!.owners[address] == nil { return address }
        }
    }

    // MARK: Packets

    /// Takes a packet out of its realm as far as it has to go; nil, and counted, when it comes nowhere.
    func depart(
        _ transport: TransportProtocol, from host: Int, source: Endpoint, destination: Endpoint, opens: Bool
    ) -> Departure? {
        let now = world.nowNanoseconds
        var realm = translation!.realm(of: host)
        var source = source
        var lastBox = -1
        while true {
            if let owner = ownerIndex(destination.address), translation!.realm(of: owner) == realm {
                return Departure(source: source, to: owner)
            }
            if let box = translation!.owners[destination.address], translation!.boxes[box].outside == realm {
                if box == lastBox, !translation!.boxes[box].nat.behaviour.hairpinning {
                    translation!.boxes[box].nat.counters.notHairpinned &+= 1
                    unlinked.natDropped &+= 1
                    return nil
                }
                let to =
                    insideHost(transport, box, destination.port, at: now) ?? translation!.boxes[box].representative
                if to < 0 {
                    countUnroutable()
                    return nil
                }
                return Departure(source: source, to: to)
            }
            if realm == 0 {
                countUnroutable()
                return nil
            }
            lastBox = realm - 1
            let inner = source
            let outcome = translation!.boxes[lastBox].nat.outbound(transport, inner, destination, opens: opens, at: now)
            guard case .translated(let outer, let isNew) = outcome else {
                unlinked.natDropped &+= 1
                return nil
            }
            if isNew {
                world.trace.record(
                    .network, host: Int32(host), at: now, 9,
                    text: "map \(translation!.boxes[lastBox].nat.name) \(transport) \(inner) \(outer)")
            }
            source = outer
            realm = translation!.boxes[lastBox].outside
        }
    }

    /// Takes a packet that has come to the outer address of a translator in to its host; nil, and counted, when it may not.
    func arrive(
        _ transport: TransportProtocol, source: Endpoint, destination: Endpoint
    ) -> (host: Int, destination: Endpoint)? {
        let now = world.nowNanoseconds
        var destination = destination
        guard var box = translation!.owners[destination.address] else {
            countUnroutable()
            return nil
        }
        while true {
            let outcome = translation!.boxes[box].nat.inbound(
                transport, port: destination.port, from: source, at: now)
            guard case .translated(let inner, _) = outcome else {
                unlinked.natDropped &+= 1
                return nil
            }
            destination = inner
            if let host = ownerIndex(inner.address), translation!.realm(of: host) == box + 1 {
                return (host, destination)
            }
            guard let next = translation!.owners[inner.address], translation!.boxes[next].outside == box + 1 else {
                // The host behind the mapping has another address by now.
                countUnroutable()
                return nil
            }
            box = next
        }
    }

    /// Who would receive what is sent to an endpoint now, as far as anybody would.
    func receiver(_ transport: TransportProtocol, at endpoint: Endpoint) -> Int? {
        if let owner = ownerIndex(endpoint.address) { return owner }
        guard let box = translation?.owners[endpoint.address] else { return nil }
        return insideHost(transport, box, endpoint.port, at: world.nowNanoseconds)
    }

    /// Whose mapping an outer port is, through all boxes; nil when there is none. Asks no filter and changes nothing.
    private func insideHost(_ transport: TransportProtocol, _ box: Int, _ port: UInt16, at now: Int64) -> Int? {
        var box = box
        var port = port
        while true {
            guard let inner = translation!.boxes[box].nat.inner(transport, port: port, at: now) else { return nil }
            if let host = ownerIndex(inner.address) { return translation!.realm(of: host) == box + 1 ? host : nil }
            guard let next = translation!.owners[inner.address], translation!.boxes[next].outside == box + 1 else {
                return nil
            }
            (box, port) = (next, inner.port)
        }
    }
}
