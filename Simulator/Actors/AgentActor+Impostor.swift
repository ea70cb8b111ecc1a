internal import FabricCore
internal import FabricDocument
internal import FabricWire

extension AgentActor {
    /// The request with the tunnel keys that this host claims in place of its own, when it asks to join and claims some.
    func claimingKeys(_ request: HTTPRequest) -> HTTPRequest {
        guard !claimedKeys.isEmpty, request.path == "/v1/enrolments",
            var body = try? JSON.decode(ControlAPI.NewEnrolment.self, from: request.body)
        else { return request }
        body.tunnelKeys = claimedKeys
        var request = request
        request.body = JSON.encodeOwn(body)
        return request
    }
}
