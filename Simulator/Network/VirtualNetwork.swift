public import FabricCore

/// Places, hosts with addresses, and the links between them.
///
/// A datagram passes one link: that of its (sending place, receiving place), or the inner link of a place. Each sender
/// draws from a random stream of its own, so that one more packet of one host changes no other host's luck; bursts of a line
/// draw from the line's. Addresses are resolved when a packet leaves. Where translators stand between (`addNAT`), it is
/// translated outwards then, and inwards when it arrives.
public final class VirtualNetwork {
    public static let maximumPlaces = 256
    public static let addressesOfPlace = 250 * 250
    /// The largest UDP payload over IPv4.
    public static let maximumDatagram = 65_507
    /// How long a host's packet to itself takes.
    static let loopbackDelay: Int64 = 10_000
    /// What finds more than this part of a line's queue before it is marked with congestion, if its sender speaks ECN.
    static let markedQueueShare: Int64 = 2

    /// What becomes of one packet at its sending.
    struct Passage {
        /// World time of the arrival; -1 when the packet is dropped.
        var arrival: Int64
        /// World time at which a duplicate arrives; -1 for none.
        var duplicateArrival: Int64
        var corrupted: Bool
        /// The mark with which it arrives.
        var ecn = ECN.notECT

        static let dropped = Passage(arrival: -1, duplicateArrival: -1, corrupted: false)
    }

    struct Attachment {
        var place: Int
        var primary: IPAddress
        var addresses: [IPAddress]
        var random: SeededRandom
        /// Within a place each sender has a line of its own.
        var busyUntil: Int64 = 0
    }

    unowned(unsafe) let world: World
    public private(set) var places: [String] = []
    private var links: UnsafeMutablePointer<LinkState>
    private(set) var attachments: UnsafeMutablePointer<Attachment>
    private var attachmentCount = 0
    private var attachmentCapacity = 64
    private var nextAddress: [Int] = []
    /// Looked up by key only.
    private var owners: [IPAddress: Int32] = [:]
    private var hostsHaveMoved = false
    private var partitions = PartitionTables()
    /// Nil as long as no translator stands anywhere: then it costs a packet one comparison.
    var translation: AddressTranslation?
    private let pool = DatagramPool()
    var unlinked = NetworkCounters()
    /// Sees each datagram as it leaves its sender, before any fault: source, destination, payload.
    public var tap: ((Instant, Endpoint, Endpoint, UnsafeRawBufferPointer) -> Void)?
    /// Somebody on the path sees the same, with the sender's index; see `Attacker`. Nil but in runs that have one.
    var eavesdropper: ((Int, Endpoint, Endpoint, UnsafeRawBufferPointer) -> Void)?

    init(world: World) {
        self.world = world
        links = .allocate(capacity: 1)
        attachments = .allocate(capacity: 64)
    }

    deinit {
        links.deinitialize(count: places.count * places.count)
        links.deallocate()
        attachments.deinitialize(count: attachmentCount)
        attachments.deallocate()
    }

    // MARK: Places and links

    /// Adds a place whose hosts are joined by `inner`, and which is joined with every other place by `outer`.
    public func addPlace(_ name: String, inner: LinkProfile = .local, outer: LinkProfile = .wide) -> PlaceID {
        let old = places.count
        precondition(old < VirtualNetwork.maximumPlaces)
        let count = old + 1
        let grown = UnsafeMutablePointer<LinkState>.allocate(capacity: count * count)
        for from in 0..<count {
            for to in 0..<count {
                let target = grown + (from * count + to)
                if from < old, to < old {
                    target.moveInitialize(from: links + (from * old + to), count: 1)
                } else {
                    target.initialize(to: LinkState(from == to ? inner : outer))
                }
            }
        }
        links.deallocate()
        links = grown
        places.append(name)
        nextAddress.append(0)
        for other in 0..<count {
            startBursts(other, old)
            if other != old { startBursts(old, other) }
        }
        return PlaceID(index: old)
    }

    /// The profile of one direction; `from == to` is the place's inner link.
    public func link(from: PlaceID, to: PlaceID) -> LinkProfile { links[linkIndex(from.index, to.index)].profile }

    /// Changes one direction. What is under way arrives as it was going to; what is sent from now on waits for the bytes
    /// before it, at the new rate.
    public func setLink(from: PlaceID, to: PlaceID, _ profile: LinkProfile) {
        let rebase = links[linkIndex(from.index, to.index)].change(to: profile, at: world.nowNanoseconds)
        if from == to {
            for host in 0..<attachmentCount where attachments[host].place == from.index {
                attachments[host].busyUntil = rebase(attachments[host].busyUntil)
            }
        }
        startBursts(from.index, to.index)
        world.trace.record(
            .network, host: -1, at: world.nowNanoseconds, 1, text: "link \(places[from.index]) \(places[to.index])")
    }

    /// Changes both directions.
    public func setLink(between a: PlaceID, and b: PlaceID, _ profile: LinkProfile) {
        setLink(from: a, to: b, profile)
        if a != b { setLink(from: b, to: a, profile) }
    }

    /// Makes or changes the line's chain as its profile says. The chain stays, so that other changes do not disturb it.
    private func startBursts(_ from: Int, _ to: Int) {
        let link = links + linkIndex(from, to)
        link.pointee.hasBursts = link.pointee.profile.bursts != nil
        guard let bursts = link.pointee.profile.bursts else { return }
        if let chain = link.pointee.bursts {
            if chain.settings != bursts { chain.change(to: bursts, at: world.nowNanoseconds) }
        } else {
            let stream = "network/bursts/\(places[from])/\(places[to])"
            link.pointee.bursts = BurstChain(
                bursts, SeededRandom(seed: world.seed, stream: stream), at: world.nowNanoseconds)
        }
    }

    public func counters(from: PlaceID, to: PlaceID) -> NetworkCounters {
        links[linkIndex(from.index, to.index)].counters
    }

    /// Bytes that wait for the line from one place to another, now; 0 for a line without a rate.
    func queuedBytes(from: PlaceID, to: PlaceID) -> Int64 {
        let link = links + linkIndex(from.index, to.index)
        return link.pointee.backlog(link.pointee.busyUntil, world.nowNanoseconds)
    }

    /// The sum over all links, and what reached none.
    public var counters: NetworkCounters {
        var total = unlinked
        for index in 0..<places.count * places.count { total += links[index].counters }
        return total
    }

    @inline(__always) private func linkIndex(_ from: Int, _ to: Int) -> Int { from &* places.count &+ to }

    // MARK: Partitions

    public func cut(_ partition: Partition) -> PartitionID {
        world.trace.record(.network, host: -1, at: world.nowNanoseconds, 2, text: "cut \(partition)")
        return partitions.cut(partition)
    }

    /// Healing a cut again does nothing.
    public func heal(_ id: PartitionID) {
        if let partition = partitions.heal(id) {
            world.trace.record(.network, host: -1, at: world.nowNanoseconds, 3, text: "heal \(partition)")
        }
    }

    public func healAll() { for id in partitions.identifiers { heal(id) } }

    /// Whether packets from one host to another are dropped by a cut, whatever their protocol.
    public func isCut(from: HostID, to: HostID) -> Bool {
        TransportProtocol.allCases.allSatisfy { isCut(from: from, to: to, $0) }
    }

    public func isCut(from: HostID, to: HostID, _ transport: TransportProtocol) -> Bool {
        isCut(from.index, to.index, transport)
    }

    @inline(__always)
    func isCut(_ from: Int, _ to: Int, _ transport: TransportProtocol) -> Bool {
        if partitions.count == 0 { return false }
        return partitions.blocks(
            transport, fromHost: from, fromPlace: attachments[from].place, toHost: to,
            toPlace: attachments[to].place)
    }

    // MARK: Hosts and addresses

    /// Called by the world, in the order of host identifiers. The address is 10.P.x.y, P being the place.
    func attach(_ name: String, to place: PlaceID) {
        if attachmentCount == attachmentCapacity {
            let larger = UnsafeMutablePointer<Attachment>.allocate(capacity: attachmentCapacity * 2)
            larger.moveInitialize(from: attachments, count: attachmentCount)
            attachments.deallocate()
            attachments = larger
            attachmentCapacity *= 2
        }
        let address = newAddress(in: place)
        (attachments + attachmentCount).initialize(
            to: Attachment(
                place: place.index, primary: address, addresses: [address],
                random: SeededRandom(seed: world.seed, stream: "\(name)/network")))
        owners[address] = Int32(attachmentCount)
        attachmentCount += 1
    }

    public func place(of host: HostID) -> PlaceID { PlaceID(index: attachments[host.index].place) }
    /// The address from which the host sends by default.
    public func address(of host: HostID) -> IPAddress { attachments[host.index].primary }
    /// All addresses, the primary one first.
    public func addresses(of host: HostID) -> [IPAddress] { attachments[host.index].addresses }
    /// The host that has an address now.
    public func owner(of address: IPAddress) -> HostID? { owners[address].map { HostID(index: Int($0)) } }

    /// Gives the host one more address; false when another host has it.
    public func addAddress(_ address: IPAddress, to host: HostID) -> Bool {
        if let owner = owners[address] { return owner == Int32(host.index) }
        owners[address] = Int32(host.index)
        attachments[host.index].addresses.append(address)
        world.trace.record(.network, host: Int32(host.index), at: world.nowNanoseconds, 4, text: "add \(address)")
        return true
    }

    /// The next one that nobody has: addresses come again when all have had their turn.
    private func newAddress(in place: PlaceID) -> IPAddress {
        for _ in 0..<VirtualNetwork.addressesOfPlace {
            let number = nextAddress[place.index]
            nextAddress[place.index] = (number + 1) % VirtualNetwork.addressesOfPlace
            let address = IPAddress(
                v4: 10 << 24 | UInt32(place.index) << 16 | UInt32(number / 250) << 8 | UInt32(number % 250 + 1))
            if owners[address] == nil { return address }
        }
        preconditionFailure("a place has at most \(VirtualNetwork.addressesOfPlace) addresses")
    }

    /// Moves the host to `place` with one new address there; its old addresses are gone. Returns the new one.
    public func move(_ host: HostID, to place: PlaceID) -> IPAddress {
        hostsHaveMoved = true
        // Its line at the other place is another one.
        if attachments[host.index].place != place.index { attachments[host.index].busyUntil = 0 }
        for address in attachments[host.index].addresses { owners[address] = nil }
        let address = newAddress(in: place)
        attachments[host.index].place = place.index
        attachments[host.index].primary = address
        attachments[host.index].addresses = [address]
        owners[address] = Int32(host.index)
        world.trace.record(.network, host: Int32(host.index), at: world.nowNanoseconds, 5, text: "move \(address)")
        return address
    }

    @inline(__always)
    func owns(_ host: Int, _ address: IPAddress) -> Bool {
        attachments[host].primary == address || ownerIndex(address) == host
    }

    @inline(__always) func ownerIndex(_ address: IPAddress) -> Int? { owners[address].map { Int($0) } }
    func mtu(_ from: Int, _ to: Int) -> Int {
        from == to ? 65_535 : links[linkIndex(attachments[from].place, attachments[to].place)].mtu
    }

    /// What IP and UDP put before a datagram.
    @inline(__always)
    static func overhead(_ destination: Endpoint) -> Int { destination.address.family == .v4 ? 28 : 48 }

    /// What a host may know of the way to an endpoint: the MTU of the line. Nil when nobody is there. A black hole tells nobody.
    func pathMTU(from host: HostID, to destination: Endpoint) -> Int? {
        receiver(.udp, at: destination).map { mtu(host.index, $0) }
    }

    // MARK: Packets

    /// Sends one IP packet of `wireBytes` from host to host through their link: the one place where faults happen.
    func pass(
        from: Int, to: Int, wireBytes: Int, _ transport: TransportProtocol, ecn: ECN = .notECT
    ) -> Passage {
        let now = world.nowNanoseconds
        let sender = attachments + from
        let link = links + linkIndex(sender.pointee.place, attachments[to].place)
        link.pointee.counters.sent &+= 1
        link.pointee.counters.sentBytes &+= UInt64(wireBytes)
        if from == to {
            return Passage(
                arrival: now &+ VirtualNetwork.loopbackDelay, duplicateArrival: -1, corrupted: false, ecn: ecn)
        }
        if isCut(from, to, transport) {
            link.pointee.counters.partitionDropped &+= 1
            return .dropped
        }
        if wireBytes > link.pointee.sizeLimit {
            if wireBytes > link.pointee.mtu {
                link.pointee.counters.mtuDropped &+= 1
            } else {
                link.pointee.counters.blackHoleDropped &+= 1
            }
            return .dropped
        }
        var departure = now
        var ecn = ecn
        if link.pointee.bandwidth > 0 {
            let inner = sender.pointee.place == attachments[to].place
            let busyUntil = inner ? sender.pointee.busyUntil : link.pointee.busyUntil
            let transmission = Int64(wireBytes) &* 8_000_000_000 / link.pointee.bandwidth
            let backlog = busyUntil &- now
            if backlog > 0, backlog &+ transmission > link.pointee.queueNanoseconds {
                link.pointee.counters.queueDropped &+= 1
                return .dropped
            }
            if ecn != .notECT, backlog > link.pointee.queueNanoseconds / VirtualNetwork.markedQueueShare, ecn != .ce {
                ecn = .ce
                link.pointee.counters.marked &+= 1
            }
            departure = max(now, busyUntil) &+ transmission
            if inner { sender.pointee.busyUntil = departure } else { link.pointee.busyUntil = departure }
        }
        let random = sender.pointee.random
        let profile = link
        if profile.pointee.profile.loss.draw(random) {
            link.pointee.counters.lost &+= 1
            return .dropped
        }
        if link.pointee.hasBursts, link.pointee.bursts!.loses(random, at: now) {
            link.pointee.counters.burstLost &+= 1
            return .dropped
        }
        var arrival =
            departure &+ link.pointee.delay
            &+ DelayDistribution.jitter(link.pointee.jitter, link.pointee.shape, random)
        if profile.pointee.profile.reordering.draw(random) {
            link.pointee.counters.reordered &+= 1
            arrival &+= link.pointee.reorderingDelay
        }
        let corrupted = profile.pointee.profile.corruption.draw(random)
        if corrupted { link.pointee.counters.corrupted &+= 1 }
        var duplicateArrival: Int64 = -1
        if profile.pointee.profile.duplication.draw(random) {
            link.pointee.counters.duplicated &+= 1
            duplicateArrival =
                departure &+ link.pointee.delay
                &+ DelayDistribution.jitter(max(link.pointee.jitter, 1000), link.pointee.shape, random)
        }
        return Passage(arrival: arrival, duplicateArrival: duplicateArrival, corrupted: corrupted, ecn: ecn)
    }

    /// Whether a packet that arrives now is still let through: the host is up and no cut has come between. Counts.
    func admit(from: Int, to: Int, wireBytes: Int, packets: Int = 1, _ transport: TransportProtocol) -> Bool {
        let link = links + linkIndex(attachments[from].place, attachments[to].place)
        if isCut(from, to, transport) {
            link.pointee.counters.partitionDropped &+= UInt64(packets)
            return false
        }
        if !world.isReachable(to) {
            link.pointee.counters.hostDown &+= UInt64(packets)
            return false
        }
        link.pointee.counters.delivered &+= UInt64(packets)
        link.pointee.counters.deliveredBytes &+= UInt64(wireBytes)
        return true
    }

    func countUnroutable() { unlinked.unroutable &+= 1 }
    func countOverLimit() { unlinked.overLimit &+= 1 }

    /// Sends a UDP datagram; what becomes of it, the sender does not learn.
    ///
    /// The source address must be the host's own, or 0.0.0.0 for its primary one; from another the datagram goes nowhere,
    /// unless the sender is one who forges.
    func send(
        from: Int, source: Endpoint, destination: Endpoint, bytes: UnsafeRawBufferPointer, ecn: ECN = .notECT,
        isForger: Bool = false
    ) {
        var source = source
        if source.address == IPAddress(v4: 0) { source.address = attachments[from].primary }
        let now = world.nowNanoseconds
        world.trace.record(
            .datagramSent, host: Int32(from), at: now,
            VirtualNetwork.digest(source, destination, bytes.count, ecn), bytes: bytes)
        tap?(Instant(nanoseconds: now), source, destination, bytes)
        eavesdropper?(from, source, destination, bytes)
        let overhead = VirtualNetwork.overhead(destination)
        guard isForger || owns(from, source.address), source.address.family == destination.address.family else {
            return countUnroutable()
        }
        var to = -1
        if translation == nil {
            guard let owner = ownerIndex(destination.address) else { return countUnroutable() }
            to = owner
        } else {
            guard let departure = depart(.udp, from: from, source: source, destination: destination, opens: true) else {
                return
            }
            (to, source) = (departure.to, departure.source)
        }
        guard bytes.count <= VirtualNetwork.maximumDatagram else {
            unlinked.mtuDropped &+= 1
            return
        }
        let passage = pass(from: from, to: to, wireBytes: bytes.count &+ overhead, .udp, ecn: ecn)
        if passage.arrival < 0 { return }
        enqueue(passage.arrival, from, to, source, destination, bytes, passage)
        if passage.duplicateArrival >= 0 {
            var duplicate = passage
            duplicate.corrupted = false
            enqueue(passage.duplicateArrival, from, to, source, destination, bytes, duplicate)
        }
    }

    private func enqueue(
        _ arrival: Int64, _ from: Int, _ to: Int, _ source: Endpoint, _ destination: Endpoint,
        _ bytes: UnsafeRawBufferPointer, _ passage: Passage
    ) {
        guard let slot = pool.take(length: bytes.count) else { return countOverLimit() }
        let record = pool.records + slot
        record.pointee.source = source
        record.pointee.destination = destination
        record.pointee.from = Int32(from)
        record.pointee.to = Int32(to)
        if let base = bytes.baseAddress { record.pointee.buffer.copyMemory(from: base, byteCount: bytes.count) }
        record.pointee.ecn = passage.ecn
        if passage.corrupted, !bytes.isEmpty {
            let random = attachments[from].random
            for _ in 0...random.below(3) {
                let bit = Int(random.below(UInt64(bytes.count) * 8))
                let byte = record.pointee.buffer.load(fromByteOffset: bit / 8, as: UInt8.self) ^ (1 << UInt8(bit % 8))
                record.pointee.buffer.storeBytes(of: byte, toByteOffset: bit / 8, as: UInt8.self)
            }
        }
        world.queue.push(time: arrival, kind: .datagram, host: Int32(to), payload: UInt64(slot))
    }

    /// A datagram has arrived.
    func deliver(slot: Int) {
        let record = pool.records[slot]
        defer { pool.release(slot) }
        var to = Int(record.to)
        var destination = record.destination
        let overhead = VirtualNetwork.overhead(destination)
        if translation != nil || hostsHaveMoved, !owns(to, destination.address) {
            // It has come to a translator, or to an address that has moved on.
            guard translation != nil, translation!.owners[destination.address] != nil else { return countUnroutable() }
            guard let arrival = arrive(.udp, source: record.source, destination: destination) else {
                return world.trace.record(
                    .datagramDropped, host: -1, at: world.nowNanoseconds, UInt64(record.from))
            }
            (to, destination) = (arrival.host, arrival.destination)
        }
        guard admit(from: Int(record.from), to: to, wireBytes: record.length &+ overhead, .udp) else {
            return world.trace.record(
                .datagramDropped, host: Int32(to), at: world.nowNanoseconds, UInt64(record.from))
        }
        let bytes = UnsafeRawBufferPointer(start: record.buffer, count: record.length)
        world.trace.record(
            .datagramDelivered, host: Int32(to), at: world.nowNanoseconds,
            VirtualNetwork.digest(record.source, destination, record.length, record.ecn), bytes: bytes)
        world.tell(to, .datagram(source: record.source, destination: destination, bytes: bytes, ecn: record.ecn))
    }

    @inline(__always)
    static func digest(_ source: Endpoint, _ destination: Endpoint, _ count: Int, _ ecn: ECN = .notECT) -> UInt64 {
        var word = source.address.low &* 0x9FB2_1C65_1E98_DF25 ^ source.address.high
        word = (word << 21 | word >> 43) ^ destination.address.low &* 0xD6E8_FEB8_6659_FD93
        word = (word << 17 | word >> 47) &+ destination.address.high
        return word
            ^ (UInt64(source.port) << 48 | UInt64(destination.port) << 32 | UInt64(ecn.rawValue) << 28 | UInt64(count))
    }
}
