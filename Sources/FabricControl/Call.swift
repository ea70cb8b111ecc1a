internal import FabricCore
internal import FabricDocument
internal import FabricWire

/// One run of one request inside one transaction. A run may be thrown away and repeated: it has no effect but through
/// the transaction and what it leaves here.
final class Call {
    let transaction: any Transaction
    let request: ControlRequest
    let segments: [String]
    let now: Now
    /// When a parked request must be answered; nil on its first run.
    let parkedUntil: Instant?
    private let entropy: [UInt8]
    private let cryptography: any Cryptography

    var touched: [Topic] = []
    var snapshotsDirty = false
    var heardFrom: NodeKey?
    var audits: [PendingAudit] = []
    /// Set by the access check of a node's call.
    var node: NodeCaller?
    /// SHA-256 of the join token's secret, set by the access check of a joining host's call.
    var tokenHash: [UInt8] = []

    init(
        _ transaction: any Transaction, _ request: ControlRequest, segments: [String], now: Now, parkedUntil: Instant?,
        entropy: [UInt8], _ cryptography: any Cryptography
    ) {
        self.transaction = transaction
        self.request = request
        self.segments = segments
        self.now = now
        self.parkedUntil = parkedUntil
        self.entropy = entropy
        self.cryptography = cryptography
    }

    /// Milliseconds since the Unix epoch: the time of everything that this run writes.
    var milliseconds: Int64 { now.wall.milliseconds }

    /// Random bytes, at most 32: the same for the same purpose in every run of the transaction.
    func draw(_ purpose: String, _ count: Int) -> [UInt8] {
        Array(cryptography.hmacSHA256(key: entropy, Array(purpose.utf8)).prefix(count))
    }

    func audit(_ cluster: ClusterID, actor: String, _ event: AuditEventKind, subject: String, _ detail: String) {
        audits.append(PendingAudit(cluster: cluster, actor: actor, event: event, subject: subject, detail: detail))
    }

    /// The body, strictly.
    func body<Document: Decodable>(_ type: Document.Type) throws(Problem) -> Document {
        try body { bytes throws(DocumentError) in try JSON.decode(type, from: bytes, limits: Self.bodyLimits) }
    }

    func body<Document: PlainDocument>(_ type: Document.Type) throws(Problem) -> Document {
        try body { bytes throws(DocumentError) in try JSON.decode(type, from: bytes, limits: Self.bodyLimits) }
    }

    private func body<Document>(
        _ decode: ([UInt8]) throws(DocumentError) -> Document
    ) throws(Problem) -> Document {
        guard !request.http.body.isEmpty else { throw Problem(.malformedRequest, "the request needs a JSON body") }
        do throws(DocumentError) {
            return try decode(request.http.body)
        } catch {
            throw Problem(.malformedRequest, "\(error)")
        }
    }

    static let bodyLimits = DocumentLimits(maximumBytes: HTTPLimits.requestBody, maximumDepth: 16, maximumNodes: 4096)

    /// An identifier from the path. One that can't exist is one that doesn't.
    func identifier<Kind>(_ index: Int, _ what: String) throws(Problem) -> Identifier<Kind> {
        guard let identifier = Identifier<Kind>(segments[index]) else {
            throw Problem(.notFound, "“\(segments[index].prefix(64))” is not \(what) identifier")
        }
        return identifier
    }

    /// A query parameter that must be a whole number within `range`.
    func integer(_ name: String, in range: ClosedRange<Int64>, default fallback: Int64) throws(Problem) -> Int64 {
        guard let text = request.http.parameter(name) else { return fallback }
        guard text.utf8.count <= 20, text.utf8.allSatisfy({ (48...57).contains($0) }), let value = Int64(text),
            range.contains(value)
        else {
            throw Problem(
                .malformedRequest,
                "the parameter “\(name)” must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// Until when this request may be parked; nil when it may not, or no longer.
    func parkingDeadline() throws(Problem) -> Instant? {
        let longest = HTTPLimits.longestPark
        let wait = try integer("wait", in: 0...longest.components.seconds, default: 0)
        let until = parkedUntil ?? now.monotonic + .seconds(wait)
        return until > now.monotonic ? until : nil
    }

    func reply(_ document: some Encodable) -> Outcome { .reply(ok(document)) }

    func reply(_ document: some PlainDocument) -> Outcome {
        .reply(HTTPReply(status: 200, body: JSON.encodeOwn(document)))
    }

    /// Waits for the topic, or replies at once when the request may not, or no longer.
    func park(_ topic: Topic, until deadline: Instant?, otherwise document: some Encodable) -> Outcome {
        guard let deadline else { return reply(document) }
        return .park(topic: topic, until: deadline, otherwise: ok(document))
    }

    private func ok(_ document: some Encodable) -> HTTPReply {
        HTTPReply(status: 200, body: JSON.encodeOwn(document))
    }

    func created(_ document: some Encodable) -> Outcome {
        .reply(HTTPReply(status: 201, body: JSON.encodeOwn(document)))
    }
}

extension WallTime {
    init(milliseconds: Int64) { self.init(nanoseconds: milliseconds &* 1_000_000) }
    var milliseconds: Int64 { nanoseconds / 1_000_000 }
}

extension Duration {
    var milliseconds: Int64 { nanoseconds / 1_000_000 }
}

extension SQLRow {
    func identifier<Kind>(_ column: String) throws(StoreError) -> Identifier<Kind> {
        guard let identifier = Identifier<Kind>(try text(column)) else {
            throw .corrupt("\(column) is not an identifier")
        }
        return identifier
    }

    /// A document in a TEXT column.
    func document<Document: Decodable>(_ type: Document.Type, _ column: String) throws(StoreError) -> Document {
        do throws(DocumentError) {
            return try JSON.decode(type, from: Array(try storeText(column).utf8))
        } catch {
            throw .corrupt("\(column): \(error)")
        }
    }

    private func storeText(_ column: String) throws(DocumentError) -> String {
        guard case .text(let text) = self[column] else { throw DocumentError("it is not text") }
        return text
    }

    /// A signed document in a BYTEA column.
    func envelope(_ column: String) throws(StoreError) -> SignedEnvelope {
        let bytes = try blob(column)
        do throws(DocumentError) {
            return try JSON.decode(
                SignedEnvelope.self, from: bytes, limits: DocumentLimits(maximumBytes: Snapshot.maximumBytes))
        } catch {
            throw .corrupt("\(column): \(error)")
        }
    }

    func optionalEnvelope(_ column: String) throws(StoreError) -> SignedEnvelope? {
        self[column] == .null ? nil : try envelope(column)
    }
}

extension SQLValue {
    static func document(_ value: some Encodable) -> SQLValue {
        .text(String(decoding: JSON.encodeOwn(value), as: UTF8.self))
    }
    static func envelope(_ value: SignedEnvelope) -> SQLValue { .blob(JSON.encodeOwn(value)) }
    static func id<Kind>(_ value: Identifier<Kind>) -> SQLValue { .text(value.text) }
    static func integer(_ value: Int) -> SQLValue { .integer(Int64(value)) }
}

extension Transaction {
    func first(_ sql: String, _ arguments: [SQLValue]) throws -> SQLRow? { try query(sql, arguments).first }
}

/// `$first, $first+1 …`: placeholders of a list.
func placeholders(_ count: Int, from first: Int) -> String {
    (first..<first + count).map { "$\($0)" }.joined(separator: ", ")
}
