internal import FabricCore

/// What went wrong, by SQLSTATE (PostgreSQL's appendix A), in the terms of `StoreError`.
struct PostgresFailure: Error {
    enum Kind {
        /// A serialisation failure or a deadlock: the transaction may be run again.
        case conflict
        case constraint, statement, unavailable, corrupt
        /// No answer in time, and the connection was given up. Not tried again at once: the next would wait as long.
        case silent
    }

    var kind: Kind
    var message: String

    init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    /// - Parameter state: five characters; empty when there was no answer.
    init(state: String, message: String) {
        let mend = Self.mends.first { $0.state == state }.map { "; \($0.mend)" } ?? ""
        let kind: Kind =
            switch state {
            // A plan that another session's change of the schema made stale is made anew, too.
            case "40001", "40P01", "0A000", "26000": .conflict
            case "XX001", "XX002": .corrupt
            case "57014", "55P03": .unavailable  // a time limit of ours
            // Every change would fail so until somebody mends the server or its roles.
            case "25006", "42501": .unavailable
            case "": .unavailable
            default:
                switch state.prefix(2) {
                case "23": .constraint
                // Connection, resources, shutdown, the server's own I/O and internal errors.
                case "08", "53", "57", "58", "XX": .unavailable
                default: .statement
                }
            }
        self.init(kind, state.isEmpty ? message : "\(message) (\(state))\(mend)")
    }

    /// What an operator can do, and the server does not say.
    private static let mends: [(state: String, mend: String)] = [
        (
            "25006",
            "the server takes no changes: name the primary server if this one is a standby, or end its read-only mode"
        ),
        (
            "42501",
            "the control plane's role lacks a privilege: let the role own the schema and its tables, or GRANT them to it"
        ),
    ]

    var isConflict: Bool { kind == .conflict }
    var isSilence: Bool { kind == .silent }

    var storeError: StoreError {
        switch kind {
        case .conflict: .unavailable("conflicts with other transactions: \(message)")
        case .constraint: .constraint(message)
        case .statement: .statement(message)
        case .unavailable, .silent: .unavailable(message)
        case .corrupt: .corrupt(message)
        }
    }
}
