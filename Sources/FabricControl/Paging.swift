internal import FabricCore
internal import FabricWire

/// Where a list begins and how long it may be: `?after=KEY&limit=N`.
struct PageRequest {
    /// Lists are sorted by a text key; the empty text is before every one.
    var after: String
    var limit: Int

    init(_ call: Call, _ settings: ControlSettings) throws(Problem) {
        after = call.request.http.parameter("after") ?? ""
        guard after.utf8.count <= 64 else {
            throw Problem(.malformedRequest, "the parameter “after” is longer than any key")
        }
        let most = Int64(ControlAPI.Page<ControlAPI.AuditEvent>.mostItems)
        limit = Int(try call.integer("limit", in: 1...most, default: Int64(settings.pageSize)))
    }

    /// `rows` were asked for with one more than the limit, to know whether there are more.
    func page<Item>(
        _ rows: [SQLRow], key: (Item) -> String, _ make: (SQLRow) throws -> Item
    ) throws -> ControlAPI.Page<Item> {
        let items = try rows.prefix(limit).map(make)
        return ControlAPI.Page(items: items, next: rows.count > limit ? items.last.map(key) : nil)
    }
}
