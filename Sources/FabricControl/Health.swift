internal import FabricCore
internal import FabricDocument
public import FabricWire

/// Whether the control plane serves (`GET /v1/health`), and whether its process is alive (`GET /v1/health/live`).
///
/// Anyone may ask, so neither writes anything: that the records take changes is known from the last change. While it failed,
/// `ControlService` tries one of its own now and then.
extension ControlPlane {
    /// Why changes can't be recorded now; nil when the last one was.
    var writeFailure: StoreError? { store.writeFailure }

    func showHealth(_ call: Call) throws -> Outcome {
        // Strangers hear that it is so; the reason is for the log.
        if writeFailure != nil {
            throw Problem(
                .unavailable,
                "the control plane can't write its records now, its log says why; what is there can be read")
        }
        _ = try call.transaction.query("SELECT 1 AS one", [])
        return call.reply(Self.healthy)
    }

    static let healthy = ControlAPI.Health(status: "ok")

    /// Writes one row, to find out whether records can be written again.
    func probeWriting(now: WallTime) throws {
        _ = try store.transaction { transaction in
            try transaction.execute(
                """
                INSERT INTO write_probes (id, probed_at) VALUES (1, $1)
                ON CONFLICT (id) DO UPDATE SET probed_at = excluded.probed_at
                """, [.integer(now.milliseconds)])
        }
    }

    public static let livenessPath = "/v1/health/live"
    /// A control plane that has worked on one thing (a transaction; a turn may hold thousands) for so long is stuck, and wants
    /// to be started anew. Far above what waiting for a store takes, which a new start would not mend.
    public static let stuckAfter = Duration.seconds(120)

    /// The answer to a question whether the process is alive, which needs neither store nor a turn of the control plane; nil
    /// for any other request.
    ///
    /// - Parameter busyFor: how long the control plane has been at what it does; zero when it waits for work.
    public static func livenessReply(to request: HTTPRequest, busyFor: Duration) -> HTTPReply? {
        guard request.path == livenessPath, request.method == .get, request.query.isEmpty else { return nil }
        guard busyFor < stuckAfter else {
            return Problem(.unavailable, "the control plane has been busy with one thing for \(busyFor)").reply
        }
        return HTTPReply(status: 200, body: JSON.encodeOwn(healthy))
    }
}
