/// The control plane's database: PostgreSQL, or SQLite. Every transaction is SERIALIZABLE and may be run again.
public protocol Store: AnyObject {
    /// Runs `body` in one transaction; when this returns, what it wrote is durable.
    ///
    /// `body` may run more than once (a conflict) and must have no effect outside the transaction. An error thrown by
    /// `body` rolls back and is rethrown. `StoreError.unknownOutcome` means that the commit may or may not have happened.
    /// An error of a statement ends the transaction: it accepts no more statements, and throws that error even if `body`
    /// catches it.
    func transaction<Result>(_ body: (any Transaction) throws -> Result) throws -> Result
}

public protocol Transaction: AnyObject {
    /// Placeholders are `$1`, `$2` … in first-use order.
    func query(_ sql: String, _ arguments: [SQLValue]) throws -> [SQLRow]
    /// Returns the number of rows changed.
    @discardableResult
    func execute(_ sql: String, _ arguments: [SQLValue]) throws -> Int
    /// Runs `body`, and undoes what it wrote when it throws (a savepoint). An error of a statement ends the transaction all
    /// the same.
    func nested<Result>(_ body: () throws -> Result) throws -> Result
}

/// How stores that speak SQL say it.
public enum Savepoint {
    public static let begin = "SAVEPOINT nested"
    public static let end = "RELEASE SAVEPOINT nested"
    public static let undo = "ROLLBACK TO SAVEPOINT nested"
}

public enum SQLValue: Hashable, Sendable {
    case null
    case integer(Int64)
    case text(String)
    case blob([UInt8])
}

public struct SQLRow: Sendable {
    private let columns: [String]
    private let values: [SQLValue]

    public init(columns: [String], values: [SQLValue]) {
        self.columns = columns
        self.values = values
    }

    /// The value of a column; a column that the statement does not select is our bug.
    public subscript(_ column: String) -> SQLValue {
        // Names are compared only when they have the same length: a row is read by many names.
        guard let index = columns.firstIndex(where: { $0.utf8.count == column.utf8.count && $0 == column }) else {
            preconditionFailure("no column \(column)")
        }
        return values[index]
    }

    public func integer(_ column: String) throws(StoreError) -> Int64 {
        guard case .integer(let value) = self[column] else { throw .corrupt("\(column) is not an integer") }
        return value
    }

    public func text(_ column: String) throws(StoreError) -> String {
        guard case .text(let value) = self[column] else { throw .corrupt("\(column) is not text") }
        return value
    }

    public func blob(_ column: String) throws(StoreError) -> [UInt8] {
        guard case .blob(let value) = self[column] else { throw .corrupt("\(column) is not a blob") }
        return value
    }

    public func optionalInteger(_ column: String) throws(StoreError) -> Int64? {
        self[column] == .null ? nil : try integer(column)
    }

    public func optionalText(_ column: String) throws(StoreError) -> String? {
        self[column] == .null ? nil : try text(column)
    }

    public func optionalBlob(_ column: String) throws(StoreError) -> [UInt8]? {
        self[column] == .null ? nil : try blob(column)
    }
}

public enum StoreError: Error, Hashable, Sendable, CustomStringConvertible {
    case unavailable(String)
    case unknownOutcome(String)
    case corrupt(String)
    case statement(String)
    /// A UNIQUE, CHECK or FOREIGN KEY constraint refused the row.
    case constraint(String)

    public var description: String {
        switch self {
        case .unavailable(let what): "the store is unavailable: \(what)"
        case .unknownOutcome(let what): "the transaction's outcome is unknown: \(what)"
        case .corrupt(let what): "the store holds corrupt data: \(what)"
        case .statement(let what): "the store refused a statement: \(what)"
        case .constraint(let what): "a constraint refused the change: \(what)"
        }
    }
}
