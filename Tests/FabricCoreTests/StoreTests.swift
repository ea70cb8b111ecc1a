import FabricCore
import Testing

@Suite struct SQLRowTests {
    private let row = SQLRow(
        columns: ["id", "name", "hash", "none"], values: [.integer(7), .text("a"), .blob([1, 2]), .null])

    @Test func `columns are read by name and kind`() throws {
        #expect(try row.integer("id") == 7)
        #expect(try row.text("name") == "a")
        #expect(try row.blob("hash") == [1, 2])
        #expect(try row.optionalInteger("id") == 7)
        #expect(try row.optionalInteger("none") == nil)
        #expect(try row.optionalText("none") == nil)
        #expect(try row.optionalBlob("none") == nil)
    }

    @Test func `a column of another kind is corruption, not a trap`() {
        #expect(throws: StoreError.corrupt("name is not an integer")) { try row.integer("name") }
        #expect(throws: StoreError.corrupt("none is not text")) { try row.text("none") }
        #expect(throws: StoreError.corrupt("id is not a blob")) { try row.optionalBlob("id") }
    }
}
