internal import FabricCore
internal import FabricScenario

/// Names in the world: where the control plane is, and what resolvers say of it.
extension ScenarioRun {
    /// The hosts must exist. An impostor comes last, so that he changes no other's address.
    func addNames() {
        guard let name = plan.controlName else { return }
        world.resolver.set(name, control.endpoint.address, lifetime: plan.answerLifetime)
        let isNeeded = plan.steps.contains {
            if case .hostFault(.dnsAnswers(_, .impostor)) = $0.action { true } else { false }
        }
        guard isNeeded else { return }
        let impostor = Impostor(world: world, services: services)
        impostor.attach(world.addHost(impostor, name: "impostor", place: places[plan.controlPlace]))
        world.start(impostor.host, at: .zero)
        self.impostor = impostor
    }

    func tell(_ nodes: [Int], _ answer: DNSAnswer) {
        let lie: VirtualResolver.Lie? =
            switch answer {
            case .truth: nil
            case .impostor: impostor.map { .address(world.network.address(of: $0.host)) }
            case .noName: .noSuchName
            case .silence: .silence
            case .stale: .stale
            }
        for node in nodes { world.resolver.tell(agents[node].host, lie) }
    }

    /// The person who operates it knows; nodes have to look it up.
    func moveControl() {
        guard let name = plan.controlName else { preconditionFailure("only a control plane with a name is moved") }
        let address = world.network.move(control.host, to: places[plan.controlPlace])
        world.resolver.set(name, address, lifetime: plan.answerLifetime)
        person.controlMoved()
    }
}
