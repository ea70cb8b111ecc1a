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

    /// Runs these in one transaction, in order. Never throws: whatever goes wrong is a reply. When the transaction fails for what
    /// one of them asked, each gets one of its own; when the store gives out in its midst, those who wrote nothing share
    /// another: a disk that is full is no reason to refuse those who only read.
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
        let first = attempt(ready, now)
        guard let failure = first.failure, ready.count > 1 else { return first.results }
        switch failure {
        case .constraint, .statement, .corrupt: return ready.flatMap { attempt([$0], now).results }
        case .unknownOutcome: return first.results
        case .unavailable: break
        }
        // Asking it for each would only take longer: it may let everyone wait.
        let readers = ready.indices.filter { first.hasRun && !first.wrote.contains($0) }
        guard !readers.isEmpty else { return first.results }
        var results = first.results
        for (index, result) in zip(readers, attempt(readers.map { ready[$0] }, now).results) { results[index] = result }
        return results
    }

    /// What a transaction came to.
    private struct Attempt {
        var results: [RunResult]
        /// What ended it, if nothing of it survived, or nobody knows whether it did.
        var failure: StoreError?
        /// It had come to its first request.
        var hasRun = false
        /// By index.
        var wrote: Set<Int> = []
    }

    private func attempt(_ ready: [Ready], _ now: Now) -> Attempt {
        // Of the last run.
        var given: [RunResult] = []
        var attempt = Attempt(results: [])
        do {
            try store.transaction { transaction in
                given = []
                attempt.hasRun = true
                attempt.wrote = []
                for (index, request) in ready.enumerated() {
                    let noting = NotingTransaction(transaction)
                    defer { if noting.hasWritten { attempt.wrote.insert(index) } }
                    given.append(try result(of: request, ready.count == 1, noting, now))
                }
            }
            for case .failure(let error as StoreError) in given { note(error) }
            attempt.results = given
        } catch let error as StoreError {
            note(error)
            attempt.failure = error
            attempt.results = Array(repeating: .failure(error), count: ready.count)
            if case .unknownOutcome = error, given.count == ready.count {
                attempt.results = planted(.replyDespiteFailedCommit) ? given : given.map { unknown($0, error) }
            }
        } catch {
            attempt.results = Array(repeating: .failure(error), count: ready.count)
        }
        return attempt
    }

    /// It may have taken place: the reply says so, and whoever waits looks again, in a transaction that finds out. Nor is a
    /// refusal certain, which may rest on what a neighbour wrote.
    private func unknown(_ result: RunResult, _ error: StoreError) -> RunResult {
        guard case .success(var handled) = result else { return .failure(error) }
        handled.outcome = .reply(Self.problem(for: error).reply)
        return .success(handled)
    }

    /// Throws what must end the transaction: a failed statement, and what ends the only request of all.
    private func result(
        of request: Ready, _ isAlone: Bool, _ transaction: any Transaction, _ now: Now
    ) throws -> RunResult {
        if isAlone { return .success(try perform(request, transaction, now)) }
        do {
            return .success(try transaction.nested { try perform(request, transaction, now) })
        } catch let error as StoreError {
            // A row that can't be understood is its reader's trouble. If a statement failed, the store ends the transaction.
            guard case .corrupt = error else { throw error }
            return .failure(error)
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

/// Passes everything on, and knows whether anything was to be changed.
private final class NotingTransaction: Transaction {
    private let base: any Transaction
    private(set) var hasWritten = false

    init(_ base: any Transaction) { self.base = base }

    func query(_ sql: String, _ arguments: [SQLValue]) throws -> [SQLRow] { try base.query(sql, arguments) }

    func execute(_ sql: String, _ arguments: [SQLValue]) throws -> Int {
        hasWritten = true
        return try base.execute(sql, arguments)
    }

    func nested<Result>(_ body: () throws -> Result) throws -> Result { try base.nested(body) }
}
