internal import FabricCore

/// NATs, links and the steps that hurt them, in the file's own form.
extension PlanText {
    /// The properties of a link beyond delay, shares, rate and MTU, so that they read back over `base`.
    func faults(_ link: LinkProperties, over base: LinkProperties) -> [String] {
        var parts: [String] = []
        if link.jitter != .zero, link.shape != base.shape || link.shape != .uniform {
            parts.append("shape: \(link.shape.rawValue)")
        }
        let isUsual = link.reorderBy == base.reorderBy && link.reorderBy == LinkProperties.defaultReorderBy
        if link.reorderPartsPerMillion > 0, !isUsual { parts.append("reorder-by: \(Span(link.reorderBy))") }
        if let bursts = link.bursts {
            let share = Ratio(partsPerMillion: bursts.sharePartsPerMillion)
            let loss =
                bursts.lossPartsPerMillion == 1_000_000
                ? "" : ", loss: \(Ratio(partsPerMillion: bursts.lossPartsPerMillion))"
            parts.append("bursts: {share: \(share), mean: \(Span(bursts.mean))\(loss)}")
        } else if base.bursts != nil {
            parts.append("bursts: none")
        }
        if let blackHole = link.blackHoleBytes {
            parts.append("black-hole: \(ByteSize(bytes: blackHole))")
        } else if base.blackHoleBytes != nil {
            parts.append("black-hole: none")
        }
        return parts
    }

    /// An entry for each of the file's.
    func nats() -> [String] {
        var entries: [String] = []
        for nat in plan.nats where !entries.contains(nat.entry) { entries.append(nat.entry) }
        return entries.map { entry in
            let boxes = plan.nats.filter { $0.entry == entry }
            let properties = boxes[0].properties
            var parts = ["nat: \(entry)"]
            let nodes = boxes.flatMap(\.nodes).sorted()
            if !nodes.isEmpty { parts.append("nodes: \(selector(nodes))") }
            if boxes[0].name != entry {
                let isPlace = plan.places.contains { boxes[0].name == "\(entry)/\($0.name)" }
                parts.append("per: \(isPlace ? "place" : "node")")
            }
            if let behind = boxes[0].behind { parts.append("behind: \(plan.nats[behind].entry)") }
            parts += [
                "mapping: \(properties.mapping.rawValue)", "filtering: \(properties.filtering.rawValue)",
                "ports: \(properties.ports.rawValue)", "hairpin: \(properties.hairpin)",
                "expiry: \(Span(properties.expiry))", "inbound-refresh: \(properties.inboundRefresh)",
                "tcp-expiry: \(Span(properties.tcpExpiry))", "table: \(properties.table)",
            ]
            return "- {\(parts.joined(separator: ", "))}"
        }
    }

    func cut(_ cut: PlannedPartition) -> String {
        let only = cut.only.map { ", only: \($0.rawValue)" } ?? ""
        return cut.isSymmetric
            ? "partition: {between: [\(selector(cut.from)), \(selector(cut.to))]\(only)}"
            : "partition: {from: \(selector(cut.from)), to: \(selector(cut.to))\(only)}"
    }

    func swizzle(_ swizzle: PlannedSwizzle) -> String {
        let target =
            switch swizzle.target {
            case .nodes(let list): "nodes: \(selector(list))"
            case .places(let list): "places: [\(list.map { plan.places[$0].name }.joined(separator: ", "))]"
            }
        return
            "swizzle: {\(target), for: \(Span(swizzle.duration)), cutting: \(Span(swizzle.cutting)), "
            + "healing: \(Span(swizzle.healing))}"
    }

    func rebind(_ nats: [Int], _ newAddress: Bool) -> String {
        let entry = plan.nats[nats[0]].entry
        let isAll = nats.count == plan.nats.count { $0.entry == entry }
        let nodes = isAll ? "" : ", nodes: \(selector(nats.flatMap { plan.nats[$0].nodes }.sorted()))"
        return "rebind: {nat: \(entry)\(nodes), address: \(newAddress ? "new" : "same")}"
    }
}
