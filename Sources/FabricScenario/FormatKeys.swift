/// The keys that the decoder knows, by the name of their object in `docs/scenario.schema.json`. A test holds the two
/// together.
enum FormatKeys {
    private static func keys<Key: CodingKey & CaseIterable>(_ type: Key.Type) -> [String] {
        Key.allCases.map(\.stringValue)
    }

    static var objects: [(name: String, keys: [String])] {
        let link = keys(LinkEntry.CodingKeys.self)
        let range = keys(CountRangeEntry.CodingKeys.self)
        return [
            ("scenario", keys(ScenarioHeader.CodingKeys.self)),
            ("world", keys(WorldSection.CodingKeys.self)),
            ("link", link),
            ("bursts", keys(BurstsEntry.CodingKeys.self)),
            ("linkBetween", keys(LinkBetween.CodingKeys.self) + link),
            ("control", keys(ControlEntry.CodingKeys.self)),
            ("cluster", keys(ClusterEntry.CodingKeys.self)),
            ("group", keys(GroupEntry.CodingKeys.self)),
            ("nat", keys(NATEntry.CodingKeys.self)),
            ("clockSetting", keys(ClockSetting.CodingKeys.self)),
            ("selectorObject", keys(Selector.CodingKeys.self)),
            ("step", keys(StepEntry.CodingKeys.self) + keys(ActionEntry.CodingKeys.self)),
            ("token", keys(TokenEntry.CodingKeys.self)),
            ("revokeToken", keys(RevokeEntry.CodingKeys.self)),
            ("enrol", keys(EnrolEntry.CodingKeys.self)),
            ("nodesObject", keys(NodesEntry.CodingKeys.self)),
            ("outage", keys(OutageEntry.CodingKeys.self)),
            ("controlOutage", keys(ControlOutageEntry.CodingKeys.self)),
            ("partition", keys(PartitionEntry.CodingKeys.self)),
            ("heal", keys(HealEntry.CodingKeys.self)),
            ("linkChange", keys(LinkChangeEntry.CodingKeys.self) + link),
            ("clock", keys(ClockEntry.CodingKeys.self)),
            ("loseAnswers", keys(LoseAnswersEntry.CodingKeys.self)),
            ("flow", keys(FlowEntry.CodingKeys.self)),
            ("swizzle", keys(SwizzleEntry.CodingKeys.self)),
            ("block", keys(BlockEntry.CodingKeys.self)),
            ("readdress", keys(ReaddressEntry.CodingKeys.self)),
            ("rebind", keys(RebindEntry.CodingKeys.self)),
            ("hold", keys(HoldEntry.CodingKeys.self)),
            ("slowCPU", keys(SlowProcessorEntry.CodingKeys.self)),
            ("disk", keys(DiskEntry.CodingKeys.self)),
            ("bitRot", keys(BitRotEntry.CodingKeys.self)),
            ("database", keys(DatabaseEntry.CodingKeys.self)),
            ("backup", keys(BackupEntry.CodingKeys.self)),
            ("crashAt", keys(CrashAtEntry.CodingKeys.self)),
            ("replay", keys(ReplayEntry.CodingKeys.self)),
            ("flood", keys(FloodEntry.CodingKeys.self)),
            ("captureControl", keys(CaptureEntry.CodingKeys.self)),
            ("impostor", keys(ImpostorEntry.CodingKeys.self)),
            ("dnsLies", keys(DNSLiesEntry.CodingKeys.self)),
            (
                "expectation",
                keys(ExpectationEntry.FormKeys.self) + keys(ExpectationEntry.CodingKeys.self)
            ),
            ("core", keys(CoreEntry.CodingKeys.self)),
            ("rekeyed", keys(RekeyedEntry.CodingKeys.self)),
            ("phase", keys(PhaseEntry.CodingKeys.self)),
            ("certificate", keys(CertificateEntry.CodingKeys.self)),
            ("limit", keys(LimitEntry.CodingKeys.self)),
            ("reachable", keys(ReachableEntry.CodingKeys.self)),
            ("count", keys(CountEntry.CodingKeys.self) + range),
            ("condition", keys(ConditionEntry.CodingKeys.self)),
            ("atLeast", keys(AtLeastEntry.CodingKeys.self)),
            ("reach", keys(ReachEntry.CodingKeys.self)),
            ("refused", keys(RefusedEntry.CodingKeys.self)),
            ("audit", keys(AuditEntry.CodingKeys.self) + range),
            ("countedNodes", keys(CountedNodesEntry.CodingKeys.self) + range),
            ("swarm", keys(SwarmSection.CodingKeys.self)),
            ("swarmCount", keys(SwarmCount.CodingKeys.self)),
            ("swarmLasting", keys(SwarmLasting.CodingKeys.self)),
            ("flowDelivery", keys(FlowExpectationEntry.CodingKeys.self)),
        ]
    }
}
