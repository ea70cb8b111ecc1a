internal import FabricCore
internal import FabricScenario

/// The world's network as the plan says, and the steps that hurt it.
extension ScenarioRun {
    /// Puts translators before the nodes; the hosts must exist.
    func addNATs() {
        for nat in plan.nats {
            let identifier = world.network.addNAT(
                nat.name, NATBehaviour(nat.properties), behind: nat.behind.map { nats[$0] })
            nats.append(identifier)
            for node in nat.nodes { world.network.putBehind(identifier, agents[node].host) }
        }
    }

    // MARK: Cuts

    func cut(_ partition: PlannedPartition) {
        func hosts(_ set: EndpointSet) -> NetworkSelector {
            .hosts(set.nodes.map { agents[$0].host } + (set.control ? [control.host] : []))
        }
        let only = partition.only.map { $0 == .udp ? TransportProtocol.udp : .tcp }
        let made = world.network.cut(
            Partition(
                from: hosts(partition.from), to: hosts(partition.to), oneWay: !partition.isSymmetric, only: only))
        cuts[partition.id, default: []].append(made)
    }

    func heal(_ partitions: [Int]) {
        for id in partitions {
            for cut in cuts.removeValue(forKey: id) ?? [] { world.network.heal(cut) }
            endedSwizzles.insert(id)
        }
    }

    func swizzle(_ swizzle: PlannedSwizzle) {
        let targets: [Partition] =
            switch swizzle.target {
            case .nodes(let list): list.map { .isolate(agents[$0].host) }
            case .places(let list): list.map { .isolate(places[$0]) }
            }
        let count = targets.count
        let random = world.random("swizzle/\(swizzle.id)")
        let cutOrder = Self.shuffled(count, random)
        let healOrder = Self.shuffled(count, random)
        let begin = world.now
        let made = SwizzleCuts(count)
        let cutPause = Duration.nanoseconds(swizzle.cutting.nanoseconds / Int64(count))
        let healPause = Duration.nanoseconds(swizzle.healing.nanoseconds / Int64(count))
        for position in 0..<count {
            let target = cutOrder[position]
            world.schedule(at: begin + cutPause * position, "swizzle \(swizzle.id) cut") { [unowned self] world in
                if endedSwizzles.contains(swizzle.id) { return }
                let cut = world.network.cut(targets[target])
                made.cuts[target] = cut
                cuts[swizzle.id, default: []].append(cut)
            }
        }
        for position in 0..<count {
            let target = healOrder[position]
            let time = begin + swizzle.duration - healPause * (count - 1 - position)
            world.schedule(at: time, "swizzle \(swizzle.id) heal") { world in
                if let cut = made.cuts[target] { world.network.heal(cut) }
            }
        }
    }

    private final class SwizzleCuts {
        var cuts: [PartitionID?]
        init(_ count: Int) { cuts = Array(repeating: nil, count: count) }
    }

    /// Fisher and Yates.
    private static func shuffled(_ count: Int, _ random: SeededRandom) -> [Int] {
        var order = Array(0..<count)
        for index in stride(from: count - 1, to: 0, by: -1) {
            order.swapAt(index, Int(random.below(UInt64(index + 1))))
        }
        return order
    }

    // MARK: Addresses

    func readdress(_ nodes: [Int], told: Bool) {
        for node in nodes {
            let host = agents[node].host!
            _ = world.network.move(host, to: world.network.place(of: host))
            if told { agents[node].addressChanged() }
        }
    }

    func rebind(_ indices: [Int], newAddress: Bool) {
        for index in indices { world.network.rebind(nats[index], newAddress: newAddress) }
    }
}

extension NATBehaviour {
    init(_ properties: NATProperties) {
        self.init()
        mapping = Dependence(properties.mapping)
        filtering = Dependence(properties.filtering)
        ports =
            switch properties.ports {
            case .preserving: .preserving
            case .random: .random
            case .contiguous: .contiguous
            }
        hairpinning = properties.hairpin
        udpLifetime = properties.expiry
        inboundRefresh = properties.inboundRefresh
        tcpLifetime = properties.tcpExpiry
        table = properties.table
    }
}

extension NATBehaviour.Dependence {
    init(_ dependence: NATDependence) {
        switch dependence {
        case .endpointIndependent: self = .endpointIndependent
        case .addressDependent: self = .addressDependent
        case .addressAndPortDependent: self = .addressAndPortDependent
        }
    }
}

extension LinkProfile {
    init(_ link: LinkProperties) {
        let shape: DelayDistribution.Shape =
            switch link.shape {
            case .uniform: .uniform
            case .bell: .bell
            case .tail: .tail
            }
        self.init(
            delay: DelayDistribution(link.delay, jitter: link.jitter, shape: shape),
            loss: Probability(partsPerMillion: UInt32(clamping: link.lossPartsPerMillion)),
            bandwidth: link.bitsPerSecond, queueBytes: link.queueBytes, mtu: link.mtu)
        duplication = Probability(partsPerMillion: UInt32(clamping: link.duplicatePartsPerMillion))
        reordering = Probability(partsPerMillion: UInt32(clamping: link.reorderPartsPerMillion))
        reorderingDelay = link.reorderBy
        corruption = Probability(partsPerMillion: UInt32(clamping: link.corruptPartsPerMillion))
        bursts = link.bursts.map {
            LossBursts(
                share: Probability(partsPerMillion: UInt32(clamping: $0.sharePartsPerMillion)), mean: $0.mean,
                lossInside: Probability(partsPerMillion: UInt32(clamping: $0.lossPartsPerMillion)))
        }
        blackHole = link.blackHoleBytes
    }
}
