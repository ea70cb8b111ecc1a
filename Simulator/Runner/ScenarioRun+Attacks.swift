internal import FabricCore
internal import FabricNode
internal import FabricScenario
internal import FabricWire

/// The steps of somebody who means harm.
extension ScenarioRun {
    /// The attacker's host, in runs in which somebody is on the path: it changes nothing of the others.
    func makeAttacker() -> Attacker? {
        let isNeeded = plan.steps.contains { step in
            switch step.action {
            case .attack(.replay), .attack(.flood): true
            default: false
            }
        }
        guard isNeeded else { return nil }
        let attacker = Attacker(world: world, services: services)
        attacker.attach(world.addHost(attacker, name: Attacker.name, place: places[0]))
        world.start(attacker.host, at: .zero)
        return attacker
    }

    func perform(_ attack: Attack) {
        switch attack {
        case .replay(let replay):
            attacker?.replay(replay, from: replay.from.map { agents[$0].host }, to: replay.to.map { agents[$0].host })
        case .flood(let flood): for node in flood.to { attacker?.flood(flood, agents[node]) }
        case .captureControl(let capture):
            control.capture(capture, capture.nodes.compactMap { agents[$0].nodeID })
        case .impostor(let impostor):
            let keys = agents[impostor.keysOf].agent?.tunnelPublicKeys ?? []
            if keys.isEmpty { world.note(agents[impostor.node].host, "the keys to be claimed are not known") }
            agents[impostor.node].claimedKeys = keys.map { TunnelKey(domain: $0.domain, publicKey: Blob($0.key)) }
            enrol(impostor.node, impostor.token)
        }
    }
}
