internal import FabricCore
internal import FabricWire

/// Finding a control plane that is known by name: `ControlLocator` decides, here its decisions are carried out.
extension NodeAgent {
    struct HeldRequest {
        var number: RequestNumber
        var request: HTTPRequest
        var timeout: Duration
    }

    /// The calls that wait for the control plane; each has at most one request under way.
    private static var calls: [ReferenceWritableKeyPath<NodeAgent, RepeatingCall>] {
        [\.enrolmentCall, \.heartbeatCall, \.updatesCall, \.renewalCall]
    }

    /// The call whose request this is; nil for one that was given up.
    func controlCall(_ number: RequestNumber) -> ReferenceWritableKeyPath<NodeAgent, RepeatingCall>? {
        Self.calls.first { self[keyPath: $0].outstanding == number }
    }

    /// Goes where the control plane answered last, and looks whether it is still to be there.
    func startLocating(_ known: ControlState?, _ now: Now, _ actions: inout [NodeAction]) {
        guard let server = configuration.controlName else { return }
        let isSame = known?.name == server.name && known?.address.port == server.port
        locator = ControlLocator(name: server.name, port: server.port, known: isSame ? known?.address : nil)
        if let endpoint = locator!.current {
            actions.append(.useControl(endpoint, connectTimeout: locator!.connectTimeout))
        }
        lookUpControl(now, &actions)
    }

    /// Makes a request, or keeps it until there is an address.
    func ask(
        _ number: RequestNumber, _ request: HTTPRequest, timeout: Duration, _ now: Now, _ actions: inout [NodeAction]
    ) {
        guard locator != nil, locator!.current == nil else {
            return actions.append(.request(number, request, timeout: timeout))
        }
        // One for each call at most: a call has one request under way.
        heldRequests.removeAll { controlCall($0.number) == nil }
        heldRequests.append(HeldRequest(number: number, request: request, timeout: timeout))
        if !locator!.isLookingUp { lookUpControl(now, &actions) }
    }

    func lookUpControl(_ now: Now, _ actions: inout [NodeAction]) {
        guard let name = locator?.name else { return }
        let number = takeNumber()
        locator!.lookupBegan(number, now.monotonic)
        actions.append(.resolve(number, name, timeout: ControlLocator.lookupTimeout))
    }

    func handleResolved(
        _ number: ResolutionNumber, _ answer: ResolvedAddresses, _ now: Now, _ actions: inout [NodeAction]
    ) {
        guard !answer.addresses.isEmpty else { return handleUnresolved(number, .noSuchName, now, &actions) }
        guard locator?.lookupEnded(number) == true else { return }
        guard let next = locator!.answered(answer, now: now.monotonic, random: random) else { return }
        goTo(next, now, &actions)
        hastenCalls(now)
        let held = heldRequests
        heldRequests = []
        for one in held where controlCall(one.number) != nil {
            actions.append(.request(one.number, one.request, timeout: one.timeout))
        }
    }

    func handleUnresolved(
        _ number: ResolutionNumber, _ failure: ResolutionFailure, _ now: Now, _ actions: inout [NodeAction]
    ) {
        guard locator?.lookupEnded(number) == true else { return }
        locator!.lookupFailed(now: now.monotonic, random: random)
        actions.append(.report(.lookupFailed(locator!.name, failure)))
        let held = heldRequests
        heldRequests = []
        for one in held where controlCall(one.number) != nil {
            handleFailure(one.number, .unreachable, now, &actions)
        }
    }

    /// A request under way was answered: it went to the present address, since a change of address ends what is under way.
    func noteControlReplied(_ number: RequestNumber, _ actions: inout [NodeAction]) {
        guard controlCall(number) != nil, locator!.replied(), let endpoint = locator!.proven else { return }
        actions.append(.report(.controlFound(locator!.name, endpoint)))
        persistControl(&actions)
    }

    func persistControl(_ actions: inout [NodeAction]) {
        guard let locator, let endpoint = locator.proven else { return }
        persist(.control, ControlState(name: locator.name, address: endpoint), &actions)
    }

    /// A request failed at the present address; its call has backed off.
    func doubtControlAddress(_ now: Now, _ actions: inout [NodeAction]) {
        let before = locator!.current
        switch locator!.failed() {
        case .stay: break
        case .tryNext(let next):
            goTo(next, now, &actions)
            hastenCalls(now)
        case .roundOver(let next):
            locator!.lookUpSoon(now.monotonic)
            guard next != before else { return }
            // Each address has had its turn: from here on the calls wait as for one that does not answer.
            for call in Self.calls where self[keyPath: call].outstanding != nil {
                self[keyPath: call].failed(now: now.monotonic, random: random)
            }
            goTo(next, now, &actions)
        }
    }

    /// There is another address to try: what waits because it failed elsewhere need not.
    private func hastenCalls(_ now: Now) {
        for call in Self.calls { self[keyPath: call].hasten(to: now.monotonic) }
    }

    /// What is under way elsewhere is asked again there, at once.
    private func goTo(_ endpoint: Endpoint, _ now: Now, _ actions: inout [NodeAction]) {
        actions.append(.useControl(endpoint, connectTimeout: locator!.connectTimeout))
        if heldRequests.isEmpty { reconnectControl(now, &actions) }
    }
}
