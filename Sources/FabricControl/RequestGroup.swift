public import FabricCore
internal import FabricWire

/// A request that is to run, for the first time or again.
public struct RequestRun {
    public var request: ControlRequest
    /// Nil on the first run; afterwards the instant that `Outcome.park` named.
    public var parkedUntil: Instant?

    public init(_ request: ControlRequest, parkedUntil: Instant? = nil) {
        self.request = request
        self.parkedUntil = parkedUntil
    }
}

/// Requests that come at about the same time share a transaction: what its end costs, a sync of the disk or a way to another
/// machine, is paid once. None can tell. Each runs within a savepoint, so that a refusal undoes what its own request wrote and
/// nothing else; the replies leave after the commit.
extension ControlPlane {
    /// Runs one request in one transaction. Never throws: whatever goes wrong is a reply.
    public func handle(request: ControlRequest, now: Now) -> Handled {
        handle(requests: [RequestRun(request)], now: now)[0]
    }

    /// Runs these in one transaction, in order. Never throws: whatever goes wrong is a reply. When the transaction fails though
    /// the store was there, each gets one of its own: a disk that is full is no reason to refuse those who only read.
    public func handle(requests: [RequestRun], now: Now) -> [Handled] {
        let entries = requests.map { run -> Entry in
            if run.parkedUntil == nil { counters.requests += 1 } else { counters.resumed += 1 }
            do throws(Problem) { return try entry(run) } catch { return .answered(.failure(error)) }
        }
        let ready = entries.compactMap { entry in if case .ready(let request) = entry { request } else { nil } }
        var results = run(ready, now)[...]
        return entries.map { entry in
            let result =
                switch entry {
                case .answered(let result): result
                case .ready: results.removeFirst()
                }
            return finish(result)
        }
    }

    private typealias RunResult = Result<Handled, any Error>

    private enum Entry {
        /// Without a transaction.
        case answered(RunResult)
        case ready(Ready)
    }

    private struct Ready {
        let run: RequestRun
        let route: Route
        let segments: [String]
        /// Drawn outside the transaction: one that runs again must write the same.
        let entropy: [UInt8]
    }

    private func entry(_ run: RequestRun) throws(Problem) -> Entry {
        let http = run.request.http
        guard http.body.count <= HTTPLimits.requestBody else {
            throw Problem(.tooLarge, "the body has \(http.body.count) bytes; the limit is \(HTTPLimits.requestBody)")
        }
        let (route, segments) = try Self.router.match(http)
        if let unknown = http.query.first(where: { !route.parameters.contains($0.name) }) {
            throw Problem(.malformedRequest, "unknown query parameter “\(unknown.name.prefix(40))”")
        }
        for name in route.parameters where http.query.count(where: { $0.name == name }) > 1 {
            throw Problem(.malformedRequest, "the query parameter “\(name)” stands twice; which one is meant?")
        }
        if let reply = Self.livenessReply(to: http, busyFor: .zero) {
            return .answered(.success(Handled(outcome: .reply(reply))))
        }
        return .ready(Ready(run: run, route: route, segments: segments, entropy: random.bytes(32)))
    }

    private func run(_ ready: [Ready], _ now: Now) -> [RunResult] {
        guard !ready.isEmpty else { return [] }
        let (results, failure) = attempt(ready, now)
        guard let failure, ready.count > 1, failure.wasReached else { return results }
        var own: [RunResult] = []
        for request in ready {
            let (results, failure) = attempt([request], now)
            own += results
            if let failure, !failure.wasReached {
                // It is gone meanwhile; asking it for each would only take longer.
                own += Array(repeating: .failure(failure.error), count: ready.count - own.count)
                break
            }
        }
        return own
    }

    /// What ended a transaction, which nothing of it survived.
    private struct GroupFailure {
        var error: StoreError
        /// The transaction had begun.
        var wasReached: Bool
    }

    private func attempt(_ ready: [Ready], _ now: Now) -> ([RunResult], GroupFailure?) {
        // Of the last run.
        var given: [RunResult] = []
        var hasBegun = false
        do {
            try store.transaction { transaction in
                hasBegun = true
                given = []
                for request in ready { given.append(try result(of: request, ready.count == 1, transaction, now)) }
            }
            return (given, nil)
        } catch let error as StoreError {
            note(error)
            if case .unknownOutcome = error, given.count == ready.count {
                return (planted(.replyDespiteFailedCommit) ? given : given.map { unknown($0, error) }, nil)
            }
            return (
                Array(repeating: .failure(error), count: ready.count),
                GroupFailure(error: error, wasReached: hasBegun)
            )
        } catch {
            return ([.failure(error)], nil)
        }
    }

    /// It may have taken place: the reply says so, and whoever waits looks again, in a transaction that finds out. A refusal
    /// stands, having written nothing.
    private func unknown(_ result: RunResult, _ error: StoreError) -> RunResult {
        result.map { handled in
            var handled = handled
            handled.outcome = .reply(Self.problem(for: error).reply)
            return handled
        }
    }

    /// Throws what must end the transaction: an error of the store, and what ends the only request of all.
    private func result(
        of request: Ready, _ isAlone: Bool, _ transaction: any Transaction, _ now: Now
    ) throws -> RunResult {
        if isAlone { return .success(try perform(request, transaction, now)) }
        do {
            return .success(try transaction.nested { try perform(request, transaction, now) })
        } catch let error as StoreError {
            throw error
        } catch {
            return .failure(error)
        }
    }

    private func perform(_ ready: Ready, _ transaction: any Transaction, _ now: Now) throws -> Handled {
        let call = Call(
            transaction, ready.run.request, segments: ready.segments, now: now, parkedUntil: ready.run.parkedUntil,
            entropy: ready.entropy, cryptography)
        try admit(call, ready.route.access)
        var handled = Handled(outcome: try ready.route.handler(self, call))
        try append(call.audits, transaction, call.milliseconds)
        handled.touched = call.touched.sortedUnique()
        handled.snapshotsDirty = call.snapshotsDirty
        handled.heardFrom = call.heardFrom
        return handled
    }

    private func finish(_ result: RunResult) -> Handled {
        let handled: Handled
        switch result {
        case .success(let success): handled = success
        case .failure(let problem as Problem):
            handled = Handled(outcome: .reply(problem.reply))
            if problem.code == .unauthenticated { counters.unauthenticated += 1 }
            if problem.code == .tokenUnknown { counters.unknownTokens += 1 }
        case .failure(let error as StoreError): handled = Handled(outcome: .reply(Self.problem(for: error).reply))
        case .failure(let error): handled = Handled(outcome: .reply(Problem(.internalError, "\(error)").reply))
        }
        if case .reply(let reply) = handled.outcome {
            switch reply.status {
            case ..<400: counters.succeeded += 1
            case ..<500: counters.refused += 1
            default: counters.failed += 1
            }
        }
        return handled
    }
}
