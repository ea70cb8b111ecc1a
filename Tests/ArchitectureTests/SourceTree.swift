internal import Foundation

/// A Swift file of the project.
struct SourceFile: Sendable {
    /// From the project's folder on, such as `Sources/FabricCore/Time.swift`.
    let path: String
    let text: String
    let source: TokenizedSource

    init(path: String, text: String) {
        self.path = path
        self.text = text
        source = TokenizedSource(text)
    }

    /// `NodeAgent` for `…/NodeAgent+Peers.swift`: files that share it extend one type and see its stored properties.
    var family: String {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        let stem = name.hasSuffix(".swift") ? String(name.dropLast(6)) : name
        return String(stem.prefix { $0 != "+" })
    }
}

/// A place where a rule is broken, written so that an editor can jump there.
struct Violation: CustomStringConvertible, Equatable {
    var path: String
    var line: Int
    var what: String

    var description: String { "\(path):\(line): \(what)" }
}

/// The tree that this test was compiled from.
enum SourceTree {
    static let root: String = {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(3)
        return parts.joined(separator: "/")
    }()

    /// All Swift files under a folder, by path.
    static func files(under folder: String) -> [SourceFile] {
        let names = FileManager.default.enumerator(atPath: "\(root)/\(folder)")?.compactMap { $0 as? String } ?? []
        return names.filter { $0.hasSuffix(".swift") }.sorted().compactMap { name in
            file("\(folder)/\(name)")
        }
    }

    static func file(_ path: String) -> SourceFile? {
        FileManager.default.contents(atPath: "\(root)/\(path)").map {
            SourceFile(path: path, text: String(decoding: $0, as: UTF8.self))
        }
    }

    /// The names of the folders directly in `folder`, sorted.
    static func folders(in folder: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(root)/\(folder)")) ?? []
        return names.sorted().filter { name in
            var isFolder: ObjCBool = false
            return FileManager.default.fileExists(atPath: "\(root)/\(folder)/\(name)", isDirectory: &isFolder)
                && isFolder.boolValue
        }
    }
}
